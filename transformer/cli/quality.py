"""The command ``quality``: what each decoding strategy does to text, as a table and as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import plots
from ..decoding.sampling import Sampling
from ..evaluation.perplexity import model_calibration, predictive_entropy, token_losses
from ..evaluation.quality import BEAMS, HELD_OUT, SWEEPS, TABLE, Quality, measure, openings, write
from ..training.console import progress_bar
from ..training.objectives import LanguageModelling
from ..training.run_data import objective_of_run
from .options import check_folder, language_model, on_run


def add_commands(commands: Any) -> None:
    parser = on_run(commands, "quality", quality_command, "likelihood, diversity and repetition of each decoding strategy")
    parser.add_argument("--prompts", type=int, default=16, metavar="N", help="how many openings of held-out text to continue")
    parser.add_argument("--tokens", type=int, default=200, metavar="N", help="how many tokens to write for each")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", metavar="PNG", help="the frontier; default: quality.png in the run folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def quality_command(args: argparse.Namespace) -> int:
    """The table, a sample of each strategy, and the frontier."""
    if args.prompts < 1 or args.tokens < 8 or args.seed < 0:
        raise ValueError(f"quality: --prompts {args.prompts}, --tokens {args.tokens}, --seed {args.seed}; expected at least 1, 8 and 0")
    out = Path(args.out) if args.out else Path(args.dir) / "quality.png"
    model, tokenizer, config = language_model(args)
    check_folder("--out", out)
    work = objective_of_run(config, tokenizer)
    assert isinstance(work, LanguageModelling)
    ids = work.validation_ids
    opening = max(1, min(32, model.context_length // 2))
    pieces = openings(ids, args.prompts, opening, args.tokens)
    prompts = [piece[:opening] for piece in pieces]
    human = measure("held-out text", model, tokenizer, pieces, opening)

    found: dict[Any, Quality] = {}
    everything = list(dict.fromkeys([*TABLE, *(sampling for sweep in SWEEPS.values() for sampling in sweep)]))
    costs = [strategy if isinstance(strategy, int) else 1 for strategy in everything]  # a beam costs about what a sample does
    bar = progress_bar(sum(costs), 0, sys.stderr, hidden=False, unit="strategy")
    for strategy, cost in zip(everything, costs, strict=True):
        name = f"beam search, {strategy} beams" if isinstance(strategy, int) else str(strategy)
        bar.set_postfix_str(name)
        found[strategy] = measure(name, model, tokenizer, write(model, strategy, prompts, args.tokens, args.seed), opening)
        bar.update(cost)
    bar.close()

    some = ids[:HELD_OUT]
    trust = model_calibration(model, some)
    facts = {
        "tokens": len(some) - 1, "loss": float(token_losses(model, some).mean()),
        "entropy": float(predictive_entropy(model, some).mean()), "calibration_error": trust.error,
    }  # fmt: skip
    if args.json:
        print(json.dumps({**facts, "strategies": [asdict(q) for q in (human, *found.values())]}, indent=2, ensure_ascii=False))
    else:
        print(
            "On {tokens:,} held-out tokens: loss {loss:.2f} nats per token, entropy of the predictions {entropy:.2f}, "
            "expected calibration error {calibration_error:.1%}".format(**facts)
        )
        print(f"{args.prompts} openings of {opening} tokens of held-out text, {args.tokens} tokens more by each strategy (seed {args.seed})\n")
        print_table([human, *(found[strategy] for strategy in TABLE)], [tokenizer.decode(prompt) for prompt in prompts])
    curves = {name: [(found[s].loss, found[s].distinct2, label(s, name)) for s in sweep] for name, sweep in SWEEPS.items()}
    points = [("held-out text", human), ("greedy", found[Sampling(0)]), (f"beam search ({BEAMS})", found[BEAMS]), ("sampling", found[Sampling()])]
    plots.save(plots.plot_frontier(curves, {name: (q.loss, q.distinct2) for name, q in points}), out)
    reliability = out.with_name(f"{out.stem}-calibration.png")
    plots.save(plots.plot_reliability(trust), reliability)
    print(f"{out}, {reliability}", file=sys.stderr if args.json else sys.stdout)
    return 0


def label(sampling: Sampling, sweep: str) -> str:
    """The number that a sweep varies."""
    return f"{getattr(sampling, sweep.replace('-', '_')):g}"


def print_table(rows: Sequence[Quality], prompts: Sequence[str]) -> None:
    """Figures first, then how each continues the opening that looks most like prose."""
    print(f"{'':<32}{'nats per token':>15}{'distinct-2':>12}{'repeated':>10}")
    for q in rows:
        print(f"{q.name:<32}{q.loss:>15.2f}{q.distinct2:>12.2f}{100 * q.repeated:>8.0f} %")
    prose = max(range(len(prompts)), key=lambda i: sum(c.isalpha() for c in prompts[i]))
    print(f"\n{prompts[prose]!r} is continued:\n")
    for q in rows:
        print(f"{q.name}:\n    {' '.join(q.texts[prose].split())[:150] or '(nothing but space)'}")
    print()
