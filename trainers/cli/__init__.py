"""The ``sdar`` command: one module per subcommand, imported only when it is called.

Mistakes of the caller end in one line that says what was expected and exit status 2; a defect of ours keeps its
traceback. Ctrl-C ends with 130.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from .parser import Parser as Parser

# name -> (module beside this file or, with dots, anywhere; one line for the overview)
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train", "train an agent; without --model a tiny one is built from nothing first"),
    "tiny": ("tiny", "a tiny model of any environment's own text, to try a world without a download"),
    "study": ("study", "compare methods over seeds: paired runs, intervals, verdicts"),
    "power": ("power", "how many tasks, samples and seeds a claim needs, and what a size can see"),
    "audit": ("audit", "defects of published protocols, simulated: how large each is, and the fixed form"),
    "leaderboard": ("leaderboard", "one row per method and protocol, rebuilt from outcomes, ordered by intervals"),
    "methods": ("methods", "the table of training methods; with a name, one of them whole"),
    "eval": ("evaluate", "success rates with intervals, of runs, models, the expert or a random agent"),
    "crossplay": ("crossplay", "players of a game against each other in every seat: the payoff matrix"),
    "export-model": ("export_model", "the model of a run as a folder; adapters merged in, or alone"),
    "curate": ("curate", "choose among the logged episodes of runs: filters, counts, a card"),
    "export": ("export", "curated episodes as a data set: chats, token ids, Parquet"),
    "sft": ("sft", "supervised steps on curated episodes: the method rft, without playing"),
    "loop": ("loop", "act, keep what succeeded and was short, imitate, repeat"),
    "inspect": ("inspect", "the student's and the teacher's prompt side by side, with token counts"),
    "wrong-actions": (
        "wrong_actions",
        "does a teacher mark the wrong action: models, contexts, one set of episodes",
    ),
    "play": ("play", "play an episode in the terminal, or watch an agent play"),
    "report": ("report", "a study or a run as one HTML page, with figures and an episode viewer"),
    "serve-store": ("serve_store", "the store as a web site on this machine, to shop in by hand"),
    "serve-retrieval": ("serve_retrieval", "passages over HTTP, as Search-R1's retriever serves them"),
    "index": ("index", "build, compress or check the index of a corpus"),
    "models": ("models", "get a pretrained model without a hub"),
    "envs": ("envs", "the environments and their options"),
    "check": ("sdar_envs.commands.check", "anybody's text environment: its contract, its scores, its leaks"),
    "serve-env": ("sdar_envs.commands.serve_env", "an environment to other stacks: OpenEnv server, teacher's channel"),
    "serve-mcp": ("sdar_envs.commands.serve_mcp", "a world's tools to an assistant, over the Model Context Protocol"),
    "export-env": ("sdar_envs.commands.export_env", "the folder from which OpenEnv builds an image of a world"),
    "data": ("data", "published data: where it comes from, what of it is here, and fetching it"),
    "doctor": ("doctor", "is this machine ready: one verdict, advice, one JSON for an issue"),
    "drill": ("drill", "kills, faults, hostile text, damage, attacks, leaks on purpose: what is survived"),
    "memory": ("memory", "will it fit, and how long will it take: computed before a run loads anything"),
}

EPILOGUE = """examples:
  sdar train --env sdar/Household-v0 --output-dir runs/house
  sdar eval runs/house
  sdar inspect --env sdar/Household-v0 --privilege skill
  sdar play --env sdar/Household-v0 --agent runs/house

`sdar COMMAND --help` lists the options of a command."""


def overview() -> str:
    """The text of ``sdar --help``."""
    lines = ["usage: sdar COMMAND [options]", "", "Text worlds with a privileged side, and a trainer that uses it.", ""]
    width = max(map(len, COMMANDS)) + 2
    lines += ["commands:", *(f"  {name:<{width}}{summary}" for name, (_, summary) in COMMANDS.items()), ""]
    lines += ["options:", "  --help, -h     this text", "  --version      versions of the suite and of what it runs on"]
    lines += ["  --debug        (any command) show the traceback of an error", "", ""]
    return "\n".join(lines) + EPILOGUE


def versions() -> str:
    """One line per distribution that a result depends on, without importing any of them."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    import sdar_envs

    lines = [f"sdar-gym {sdar_envs.__version__}", f"python {python_version()}"]
    for name in ("torch", "transformers", "gymnasium", "textworld"):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``sdar``; the process's own by default.

    Returns:
        The exit status: 0, 2 for a mistake of the caller, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # torchao, where it is installed, says at length at its import which of its kernels do not fit this torch.
    for noisy in ("torchao", "torch.utils._pytree"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(versions())
        return 0
    try:
        return _run(words[0], words[1:])
    except SystemExit as stop:  # argparse: --help or a mistake it has reported
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `sdar ... | head`: the reader has gone; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug or not is_callers_mistake(error):
            raise
        if not _says(error):
            return 2
        from .terminal import one_line

        print(f"sdar {words[0]}: {one_line(str(error)) or type(error).__name__}", file=sys.stderr)
        return 2
    finally:
        threads = sys.modules.get(f"{__name__}.threads")  # imported by the commands that compute with a model
        if threads is not None:
            threads.give_back_threads()


def _says(error: Exception) -> bool:
    """Whether this process reports `error`: of several processes of a run, one does."""
    failures = sys.modules.get("trainers.engine.rank_failures")  # in a run of several processes it has been imported
    return failures is None or bool(failures.says(error))


def is_callers_mistake(error: Exception) -> bool:
    """Whether `error` says what the caller can do, so that a traceback would only hide it.

    That holds for the error classes of this suite, for Gymnasium's, and for the built-in ones that are raised on input.
    """
    if isinstance(error, ValueError | OSError | ImportError):
        return True
    # Gymnasium's errors (an unknown id, a missing dependency) are looked up without importing it.
    gymnasium_error = getattr(sys.modules.get("gymnasium.error"), "Error", ())
    ours = type(error).__module__.partition(".")[0] in ("sdar_envs", "agents", "trainers")
    return ours or isinstance(error, gymnasium_error)


def _run(name: str, words: Sequence[str]) -> int:
    parser, module = command_parser(name)
    status: int = module.run(parser.parse_args(list(words)))
    return status


def command_parser(name: str) -> tuple[argparse.ArgumentParser, ModuleType]:
    """The parser of a command, and the module that runs what it has parsed.

    Raises:
        ValueError: Unknown command; the message lists the choices and the nearest.
    """
    if name not in COMMANDS:
        from sdar_envs.choices import unknown_choice

        raise unknown_choice("command", name, COMMANDS, "sdar")
    place = COMMANDS[name][0]
    module = importlib.import_module(place if "." in place else f".{place}", __name__)
    prog = f"sdar {name}"
    # argparse's own usage would list some eighty flags in front of what they mean.
    usage = f"{prog} {getattr(module, 'USAGE', '[options]')}"
    epilogue = getattr(module, "EPILOGUE", None)
    kind: type[Parser] = getattr(module, "PARSER", Parser)  # of a command that has subcommands
    parser = kind(prog=prog, usage=usage, description=module.__doc__, epilog=epilogue)
    module.add_arguments(parser)
    return parser, module
