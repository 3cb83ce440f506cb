"""The commands ``count``, ``compress`` and ``adapt``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from minigrad import manual_seed

from ..compression.adapters import add_adapters, merge_adapters, save_adapters
from ..compression.counting import count
from ..compression.packing import KINDS, pack_run
from ..compression.quantization import BLOCKS
from ..data import corpora
from ..data.corpora import held_out
from ..models.build import build_model
from ..training.checkpoints import RunFolder
from ..training.console import progress_bar
from ..training.loop import Trainer
from ..training.objectives import LanguageModelling
from ..training.settings import Settings
from .options import language_model, on_run, positive


def add_commands(commands: Any) -> None:
    table = on_run(commands, "count", count_command, "parameters, FLOPs and bytes of a model, layer by layer")
    table.add_argument("--batch", type=positive, metavar="N", help="default: that of the training")
    table.add_argument("--length", type=positive, metavar="N", help="tokens of each sequence; default: as many as the model can read")
    table.add_argument("--dense", action="store_true", help="count causal attention whole, also the part that is skipped")
    table.add_argument("--parts", action="store_true", help="what lies within each layer, too")

    says = "store a run's weights in fewer bits, in a folder that generate and evaluate read"
    press = on_run(commands, "compress", compress_command, says, works=True)
    press.add_argument("--to", required=True, choices=KINDS)
    press.add_argument("--by", choices=BLOCKS, help="int8: which weights share a scale (default: channel)")
    press.add_argument("--group", type=positive, metavar="N", help="int8 --by group: how many (default 64)")
    press.add_argument("--out", required=True, metavar="DIR", help="the new run folder")

    says = "teach a run's model another text with low-rank adapters, into a new folder"
    adapt = on_run(commands, "adapt", adapt_command, says, works=True)
    adapt.add_argument("--text", nargs="+", required=True, metavar="FILE", help="UTF-8 text files, in the characters that the model knows")
    adapt.add_argument("--rank", type=positive, default=2, metavar="N", help="of the adapters (default 2)")
    adapt.add_argument("--steps", type=positive, default=400, metavar="N", help="default 400")
    adapt.add_argument("--lr", type=float, default=1e-2, metavar="X", help="default 0.01")
    adapt.add_argument("--seed", type=int, default=0, metavar="N")
    adapt.add_argument("--out", required=True, metavar="DIR", help="the new run folder: the merged weights, and the adapters alone")


def adapt_command(args: argparse.Namespace) -> int:
    def shown(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """``map``, with the time left; the validation text is read before and after."""
        everything = list(items)
        bar = progress_bar(len(everything), 0, sys.stderr, hidden=False, unit="piece")
        for item in everything:
            yield function(item)
            bar.update(1)
        bar.close()

    target = RunFolder(args.out)
    model, tokenizer, config = language_model(args)
    train_ids, validation_ids = held_out(tokenizer.encode(corpora.read_text(args.text)), model.context_length)
    work = LanguageModelling(train_ids, validation_ids, model.context_length, tokenizer)
    settings = Settings(
        steps=args.steps, lr=args.lr, min_lr=args.lr / 10, warmup=20, weight_decay=0.0, seed=args.seed, evaluate_every=max(1, args.steps // 4)
    )
    target.unused()
    before = work.evaluate(model, spread=shown)
    manual_seed(args.seed)
    learning = sum(p.size for p in add_adapters(model, args.rank))
    print(f"{learning:,} numbers learn, {learning / model.num_parameters():.2%} of the model", flush=True)
    Trainer(model, work, settings).train(show=lambda message: print(message, flush=True))
    model.eval()
    after, alone = work.evaluate(model, spread=shown), target.path / "adapter.npz"
    kept = {key: value for key, value in config.items() if key not in ("format", "tokenizer", "compressed", "task")}
    text = {"text": [str(Path(file).resolve()) for file in args.text], "task": None, "data": work.fingerprint()}
    with target.beginning({**kept, **text, "adapted": {"from": str(Path(args.dir).resolve()), "rank": args.rank}}, tokenizer):
        save_adapters(model, alone)
        target.save_best(merge_adapters(model).state_dict())
    target.lock.give_back()
    print(f"{args.out}: validation loss on this text {before:.3f} before, {after:.3f} now")
    print(f"{alone}: the adapters alone, {alone.stat().st_size:,} bytes")
    return 0


def compress_command(args: argparse.Namespace) -> int:
    if args.to != "int8" and (args.by or args.group):
        raise ValueError(f"--{'by' if args.by else 'group'} is for --to int8")
    if args.group and args.by != "group":
        raise ValueError("--group needs --by group")
    before, after = pack_run(RunFolder(args.dir), RunFolder(args.out), args.to, args.by or "channel", args.group or 64)
    print(f"{args.out}: weights in {after:,} bytes, {after / before:.1%} of the {before:,} of float32")
    print(f"what that costs: python -m transformer evaluate {args.out}")
    return 0


def count_command(args: argparse.Namespace) -> int:
    folder = RunFolder(args.dir)
    config = folder.config()
    batch = args.batch or config.get("training", {}).get("batch_size", 1)
    table = count(build_model(config, folder.config_file), batch, args.length, dense=args.dense)
    print(f"{config.get('kind', 'GPT')}, {table.batch} sequences of {table.length} tokens; a multiply-add is 2 FLOP, only matrix products count")
    print(table if args.parts else table.by_layer())
    return 0
