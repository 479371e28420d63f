"""Commands about environments that need only this package: `python -m sdar_envs` and `sdar` run the same ones."""
