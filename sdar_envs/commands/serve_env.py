"""Serve any text environment to other stacks, as an OpenEnv server; the teacher's side on a port of its own.

ENV is a Gymnasium id or `module:factory`. Clients play over WebSocket sessions. Nothing that only a teacher may know is
sent on the agents' port; with a token file it is answered on the teacher's port, to whoever shows the token.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import Any

USAGE = "ENV [options]"
EPILOGUE = """examples:
  sdar serve-env sdar/Household-v0 --env-kwargs size=small
  sdar serve-env sdar/WebShop-v0 --port 8000 --teacher-port 8001 --teacher-token-file token.txt
  sdar serve-env my_module:MyEnv --host 0.0.0.0

It needs the extra `openenv`. The token can also be in SDAR_TEACHER_TOKEN; it is never an argument, which other people
of the machine could read."""

TOKEN_VARIABLE = "SDAR_TEACHER_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("environment", metavar="ENV", help="Gymnasium id, or module:factory")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="arguments of the environment"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="of the agents' side [8000]")
    parser.add_argument("--teacher-port", type=int, help="of the teacher's side [the agents' + 1]")
    parser.add_argument(
        "--teacher-token-file", metavar="FILE", help="its token; without one there is no teacher's side"
    )
    parser.add_argument("--max-sessions", type=int, default=64, help="clients at one time [64]")
    parser.add_argument("--idle-minutes", type=float, default=60.0, help="after which a session ends [60]")


def token_of(file: str | None) -> str | None:
    """The teacher's token: the file's, else the variable's; None where there is neither.

    Raises:
        ValueError: The file is empty.
        OSError: It cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    token = Path(file).read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{file}: expected a token, and the file is empty")
    return token


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from ..text_only import require_text_world
    from .check import read_pairs, target_of

    make = target_of(options.environment, read_pairs(options.env_kwargs))
    from ..bridges.openenv_server import build  # first: it says what is to be installed

    require_text_world(make, options.environment)

    name = options.environment.replace("/", "-").replace(":", "-").lower()
    apps = build(
        make,
        name,
        description=f"{options.environment}, a text environment",
        token=token_of(options.teacher_token_file),
        max_sessions=options.max_sessions,
        idle_seconds=60.0 * options.idle_minutes,
    )
    teacher_port = options.port + 1 if options.teacher_port is None else options.teacher_port
    print(f"{options.environment}: agents at http://{options.host}:{options.port} (WebSocket /ws)", flush=True)
    if apps.teacher is None:
        print("no teacher's side: --teacher-token-file FILE opens one", flush=True)
    else:
        print(f"teacher at http://{options.host}:{teacher_port}/privileged/EPISODE, with the token", flush=True)
        threading.Thread(target=_serve, args=(apps.teacher, options.host, teacher_port), daemon=True).start()
    _serve(apps.agent, options.host, options.port)
    return 0


def _serve(app: Any, host: str, port: int) -> None:
    import uvicorn

    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, timeout_keep_alive=30)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
