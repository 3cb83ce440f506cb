"""The commands ``count`` and ``compress``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..runs import RunFolder, build_model
from .counting import count
from .packing import KINDS, pack_run
from .quantization import BLOCKS


def add_commands(commands: Any, positive: Callable[[str], int]) -> None:
    """Register both."""
    table = commands.add_parser("count", help="parameters, FLOPs and bytes of a model, layer by layer")
    table.set_defaults(run=count_command)
    table.add_argument("dir", metavar="DIR")
    table.add_argument("--batch", type=positive, metavar="N", help="default: that of the training")
    table.add_argument("--length", type=positive, metavar="N", help="tokens of each sequence; default: as many as the model can read")
    table.add_argument("--dense", action="store_true", help="count causal attention whole, also the part that is skipped")
    table.add_argument("--parts", action="store_true", help="what lies within each layer, too")

    press = commands.add_parser("compress", help="store a run's weights in fewer bits, in a folder that generate and evaluate read")
    press.set_defaults(run=compress_command)
    press.add_argument("dir", metavar="DIR")
    press.add_argument("--to", required=True, choices=KINDS)
    press.add_argument("--by", choices=BLOCKS, help="int8: which weights share a scale (default: channel)")
    press.add_argument("--group", type=positive, metavar="N", help="int8 --by group: how many (default 64)")
    press.add_argument("--out", required=True, metavar="DIR", help="the new run folder")


def compress_command(args: argparse.Namespace) -> int:
    """The new folder, and what was saved."""
    if args.to != "int8" and (args.by or args.group):
        raise ValueError(f"--{'by' if args.by else 'group'} is for --to int8")
    if args.group and args.by != "group":
        raise ValueError("--group needs --by group")
    before, after = pack_run(RunFolder(args.dir), RunFolder(args.out), args.to, args.by or "channel", args.group or 64)
    print(f"{args.out}: weights in {after:,} bytes, {after / before:.1%} of the {before:,} of float32")
    print(f"what that costs: python -m transformer evaluate {args.out}")
    return 0


def count_command(args: argparse.Namespace) -> int:
    """The table of a run's model."""
    folder = RunFolder(args.dir)
    config = folder.config()
    batch = args.batch or config.get("training", {}).get("batch_size", 1)
    table = count(build_model(config, folder.config_file), batch, args.length, dense=args.dense)
    print(f"{config.get('kind', 'GPT')}, {table.batch} sequences of {table.length} tokens; a multiply-add is 2 FLOP, only matrix products count")
    print(table if args.parts else table.by_layer())
    return 0
