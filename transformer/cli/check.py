"""The command ``check``: every gradient against finite differences."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    check = commands.add_parser("check", help="check the gradients of every op, layer and model against finite differences")
    check.set_defaults(run=check_command)
    check.add_argument("--op", metavar="NAME", help="only this op (with its derivation, worked out), layer or model")


def check_command(args: argparse.Namespace) -> int:
    from ..checks import check_everything

    return check_everything(args.op)
