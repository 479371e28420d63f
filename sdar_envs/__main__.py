"""``python -m sdar_envs``: commands about environments, where neither the trainer nor torch is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from . import __version__
from .command_line import Parser

# name -> (module, one line for the overview)
COMMANDS = {
    "check": ("check", "anybody's text environment: its contract, its scores, its leaks"),
    "serve": ("serve_env", "an environment to other stacks, as an OpenEnv server with a teacher's channel"),
    "serve-mcp": ("serve_mcp", "a world's tools to an assistant, over the Model Context Protocol"),
    "export-env": ("export_env", "the folder from which OpenEnv builds an image"),
}


def overview() -> str:
    """The text of ``--help``."""
    lines = ["usage: python -m sdar_envs COMMAND [options]", "", f"sdar_envs {__version__}", "", "commands:"]
    lines += [f"  {name:<12}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join([*lines, "", "`python -m sdar_envs COMMAND --help` lists the options of a command."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; the process's own by default.

    Returns:
        The exit status: 0, 1 where something was found, 2 for a mistake of the caller.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    try:
        return _run(words[0], words[1:])
    except SystemExit as stop:  # argparse: --help or a mistake it has reported
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        return _mistake(words[0], error)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("gymnasium", "sdar_envs"):
            raise
        return _mistake(words[0], error)


def _mistake(command: str, error: Exception) -> int:
    print(f"python -m sdar_envs {command}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
    return 2


def _run(name: str, words: Sequence[str]) -> int:
    from .choices import require_choice

    module = importlib.import_module(
        f".commands.{COMMANDS[require_choice('command', name, COMMANDS, 'sdar_envs')][0]}", __package__
    )
    prog = f"python -m sdar_envs {name}"
    parser = Parser(prog=prog, usage=f"{prog} {module.USAGE}", description=module.__doc__, epilog=module.EPILOGUE)
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(list(words)))  # type: ignore[no-untyped-call]
    return status


if __name__ == "__main__":
    sys.exit(main())
