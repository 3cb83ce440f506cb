r"""What decoding does to text: likelihood, diversity and repetition of each strategy, on one trained model.

    python -m transformer quality DIR

Every strategy continues the same openings of held-out text.  Measured on what it wrote, without the opening:

- loss, in nats per token: how likely the model finds it, given the window that it was written from;
- distinct-2: the share of different pairs of words, over all its texts together;
- repeated: the share of runs of 16 characters (about three words) that the same text had said before; an endless row of spaces counts.

The held-out text's own continuations are measured in the same way: that is what good text looks like to this model.
Maximising likelihood (greedy, beam search) repeats itself, plain sampling falls below the likelihood of real text, and truncated sampling
lies between.  Source: Holtzman et al. (2020).  Before the strategies, the model itself: its loss, the entropy of its predictions and its calibration.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.tokenizers import Tokenizer
from ..decoding.generate import beam_search, generate
from ..decoding.sampling import Sampling
from .perplexity import distinct_n, model_calibration, predictive_entropy, repetition_rate, token_losses

BEAMS = 8
RUN = 16  # characters
HELD_OUT = 20_001  # tokens on which the model itself is measured
SWEEPS: dict[str, list[Sampling]] = {
    "temperature": [Sampling(t) for t in (0.25, 0.5, 0.7, 0.85, 1.0, 1.2)],
    "top-k": [Sampling(top_k=k) for k in (2, 4, 8, 16)],
    "top-p": [Sampling(top_p=p) for p in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)],
}
TABLE: list[Sampling | int] = [  # a number is a beam search with so many beams
    Sampling(0), BEAMS, Sampling(0, repetition_penalty=1.3), Sampling(0.7), Sampling(top_k=8), Sampling(top_p=0.9), Sampling(min_p=0.1),
    Sampling(), Sampling(1.2),
]  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """What one strategy wrote, measured."""

    name: str
    loss: float  # nats per token
    distinct2: float
    repeated: float
    texts: list[str]  # without the opening


def words(text: str) -> list[str]:
    """Words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


def openings(ids: np.ndarray, count: int, length: int, tokens: int) -> list[np.ndarray]:
    """``count`` evenly spaced pieces of held-out ids, ``length`` + ``tokens`` long, that do not overlap; ValueError when there is no room."""
    size = length + tokens
    if count * size > len(ids):
        raise ValueError(
            f"quality: {count} pieces of {size} tokens do not fit into the {len(ids)} held-out tokens; "
            f"ask for fewer prompts (at most {len(ids) // size} of this size), fewer tokens, or train on a longer text"
        )
    return [ids[start : start + size].astype(np.int64) for start in np.linspace(0, len(ids) - size, count).astype(int)]


def measure(name: str, model: Any, tokenizer: Tokenizer, texts: Sequence[np.ndarray], opening: int) -> Quality:
    """Measure texts whose first ``opening`` tokens were given."""
    half = max(1, model.context_length // 2)  # the window by which the model writes
    losses = [token_losses(model, ids, half)[opening - 1 :] for ids in texts]
    written = [tokenizer.decode(ids[opening:]) for ids in texts]
    repeated = float(np.mean([repetition_rate(text, RUN) for text in written]))
    return Quality(name, float(np.mean(np.concatenate(losses))), distinct_n(map(words, written)), repeated, written)


def write(model: Any, strategy: Sampling | int, prompts: Sequence[np.ndarray], tokens: int, seed: int) -> list[np.ndarray]:
    """Continue each prompt; every row has its own random numbers, the same for all strategies."""
    if isinstance(strategy, int):
        return [beam_search(model, prompt, tokens, strategy) for prompt in prompts]
    rngs = [np.random.default_rng([seed, row]) for row in range(len(prompts))]
    return list(generate(model, list(prompts), tokens, **asdict(strategy), rng=rngs))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.set_defaults(run=command)
    parser.add_argument("dir", metavar="DIR")
    parser.add_argument("--prompts", type=int, default=16, metavar="N", help="how many openings of held-out text to continue")
    parser.add_argument("--tokens", type=int, default=200, metavar="N", help="how many tokens to write for each")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", metavar="PNG", help="the frontier; default: quality.png in the run folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(args: argparse.Namespace) -> int:
    """The table, a sample of each strategy, and the frontier."""
    from .. import plots
    from ..data.texts import data_of_run
    from ..training.checkpoints import RunFolder
    from ..training.loop import progress_bar

    if args.prompts < 1 or args.tokens < 8 or args.seed < 0:
        raise ValueError(f"quality: --prompts {args.prompts}, --tokens {args.tokens}, --seed {args.seed}; expected at least 1, 8 and 0")
    out = Path(args.out) if args.out else Path(args.dir) / "quality.png"
    model, tokenizer, config = RunFolder(args.dir).load_model()
    if not hasattr(model, "context_length"):
        raise ValueError(f"{args.dir}: is a {config['kind']} for the task {config['task']}; quality is for language models of a text")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: no such folder {out.parent}")
    _, ids = data_of_run(config, tokenizer, model.context_length)
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
