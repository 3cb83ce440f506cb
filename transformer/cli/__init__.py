"""The command line: ``python -m transformer`` shows the whole thing; ``--help`` lists the commands.

Exit status 0 on success, 1 when a check fails, 2 on wrong usage, 130 after Ctrl-C; a user's mistake gets one line, never a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.files import brief
from ..parallel import local_rank, world
from . import attention, bias, check, compress, course, evaluate, generate, page, quality, streams, train
from .options import UsageError, positive

ROOMS = (train, generate, evaluate, quality, attention, check, bias, compress, page, course)


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line that says where help is."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command, on every process that mpiexec has started; returns the exit status."""
    closed = streams.open_closed()
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")
    try:
        workers = world()
    except (ImportError, RuntimeError) as error:
        if local_rank() == 0:
            print(f"{program()}: {error}", file=sys.stderr)
        return 2
    return workers.run(lambda: command(argv, closed))


def command(argv: list[str] | None, closed: Sequence[str] = ()) -> int:
    """Run one command in this process; ``closed`` are the standard streams that were."""
    args = parser().parse_args(argv)
    works = getattr(args, "works", False)  # it leaves files, so what it says is not all
    try:
        if world().size > 1 and not (getattr(args, "shared", False) or getattr(args, "prompts", None)):
            raise UsageError("only train, evaluate and generate --prompts share their work; start this command without mpiexec")
        check_streams(args, closed, works)
        with streams.lasting() if works else contextlib.nullcontext():
            status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (UsageError, ValueError, OSError, IndexError, FloatingPointError, MemoryError, ImportError) as error:
        if isinstance(error, OSError) and streams.reader_gone(error):
            streams.discard(sys.stdout)
            return 0
        print(f"{program()}: {told(error)}", file=sys.stderr)
        return 2


def check_streams(args: argparse.Namespace, closed: Sequence[str], works: bool) -> None:
    """UsageError when what a command is for would go to, or come from, a stream that is closed."""
    if "stdout" in closed and not works and not getattr(args, "out", None):
        raise UsageError("standard output is closed, so there is nowhere to write to; redirect it to a file")
    if "stdin" in closed and getattr(args, "interactive", False):
        raise UsageError("standard input is closed, and --interactive reads its prompts there; use --prompt or --prompts FILE")


def told(error: Exception) -> str:
    """An error in one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        unnamed = "standard output" if error.errno == errno.ENOSPC else ""
        parts = [str(part) for part in (error.filename or unnamed, error.strerror) if part]
        if error.errno == errno.ENOSPC and not error.filename:
            streams.discard(sys.stdout)  # Python would fail on it once more at its end
        return brief(": ".join(parts), 2000)
    return brief(error, 2000) or type(error).__name__


def program() -> str:
    """What messages begin with: the name under which it was called, if that is the installed command's."""
    name = Path(sys.argv[0]).stem
    return name if name == "attention-by-hand" else "transformer"


def parser() -> Parser:
    """The commands and their options, each beside the code that it feeds."""
    prog = "python -m transformer" if program() == "transformer" else program()
    top = Parser(prog=prog, description="Train, use and check small Transformers written in NumPy.")
    top.set_defaults(run=lambda args: train.first_run(parser().parse_args), works=True, shared=True)
    commands = top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for room in ROOMS:
        room.add_commands(commands)
    for one in commands.choices.values():  # what the top says of itself holds for no command
        one.set_defaults(**{said: bool(one.get_default(said)) for said in ("works", "shared")})
    for one in (top, *commands.choices.values()):
        one.add_argument("--threads", type=positive, metavar="N", help="of matrix products (default 1: small ones gain nothing from more)")
    return top
