"""These worlds in other stacks: an OpenEnv server and the teacher's channel beside it."""
