"""The commands ``count`` and ``compress``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..runs import RunFolder, build_model
from .counting import count


def add_commands(commands: Any, positive: Callable[[str], int]) -> None:
    """Register both."""
    table = commands.add_parser("count", help="parameters, FLOPs and bytes of a model, layer by layer")
    table.set_defaults(run=count_command)
    table.add_argument("dir", metavar="DIR")
    table.add_argument("--batch", type=positive, metavar="N", help="default: that of the training")
    table.add_argument("--length", type=positive, metavar="N", help="tokens of each sequence; default: as many as the model can read")
    table.add_argument("--dense", action="store_true", help="count causal attention whole, also the part that is skipped")
    table.add_argument("--parts", action="store_true", help="what lies within each layer, too")


def count_command(args: argparse.Namespace) -> int:
    """The table of a run's model."""
    folder = RunFolder(args.dir)
    config = folder.config()
    batch = args.batch or config.get("training", {}).get("batch_size", 1)
    table = count(build_model(config, folder.config_file), batch, args.length, dense=args.dense)
    print(f"{config.get('kind', 'GPT')}, {table.batch} sequences of {table.length} tokens; a multiply-add is 2 FLOP, only matrix products count")
    print(table if args.parts else table.by_layer())
    return 0
