"""The command ``attention``: where a model looks, drawn for every layer and head."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import no_grad

from .. import plots
from ..attention import attention_maps
from ..data.codec import Codec, Pieces
from ..data.tasks import sentences
from ..data.tokenizers import Tokenizer
from ..decoding.translate import cross_attention
from ..decoding.window import evaluating
from ..models.bert import SpanReader, Tagger
from ..models.rnn import RecurrentLM
from ..training import answering, recipes, tagging
from ..training.checkpoints import RunFolder
from ..training.examples import OnTask
from ..training.objectives import LanguageModelling, Objective
from . import options
from .options import UsageError


def add_commands(commands: Any) -> None:
    attention = options.on_run(commands, "attention", attention_command, "draw the attention maps of a text")
    attention.add_argument("--text", metavar="S", help="what the model reads (a run on a task has an example of its own)")
    attention.add_argument("--target", metavar="S", help="what a translating model writes; default: what it would write")
    attention.add_argument("--out", metavar="PNG", help="default: attention.png in the run folder")


def attention_command(args: argparse.Namespace) -> int:
    """Draw the maps of a text; of a model that writes, the cross-attention from what it writes to what it reads."""
    model, tokenizer, config = RunFolder(args.dir).load_model()
    out = Path(args.out) if args.out else Path(args.dir) / "attention.png"
    kind = config.get("kind", "GPT")
    options.check_folder("--out", out)
    if kind in ("Transformer", "Seq2SeqRNN", "Tagger", "SpanReader"):
        if args.target is not None and kind in ("Tagger", "SpanReader"):
            raise UsageError(f"--target is for models that write; this {kind} reads one text: leave it out")
        source = args.text if args.text is not None else recipes.pair_task(config["task"]).sample("test")[0].source
        draw_pair(model, tokenizer, source, args.target, out)
    elif kind in ("GPT", "Classifier"):
        if args.text is None or args.target is not None:
            raise UsageError("this model reads one text: give --text and no --target")
        ids, longest = tokenizer.encode(args.text), model.context_length if kind == "GPT" else model.max_length
        if not 1 <= len(ids) <= longest:
            raise UsageError(f"--text has {len(ids)} tokens; this model takes 1 to {longest}")
        draw_attention(model, tokenizer, ids, out)
    else:
        raise UsageError(f"{args.dir}: a {kind} has no attention over text to draw")
    print(out)
    return 0


def draw_example(work: Objective, model: Any, path: Path) -> str:
    """Draw what the model makes of an example of its data, where it has attention to draw, and return the example ("" for classes)."""
    if isinstance(work, LanguageModelling):
        example = work.opening()
        if work.tokenizer is not None and not isinstance(model, RecurrentLM):
            draw_attention(model, work.tokenizer, work.tokenizer.encode(example)[: model.context_length], path)
        return example
    if not isinstance(work, OnTask):
        return ""
    example = work.task.sample("test")[0].source
    if getattr(model, "attention", True) is not None:
        draw_pair(model, work.tokenizer, example, None, path)
    return example


def maps_of(model: Any, *arrays: Any) -> list[np.ndarray]:
    """The attention of every layer on the first row of what the model reads, (heads, T, T) each."""
    with attention_maps(model) as maps, no_grad(), evaluating(model):
        model(*arrays)
        return [calls[0][0] for calls in maps.values()]


def draw_attention(model: Any, tokenizer: Tokenizer, ids: np.ndarray, path: Path) -> None:
    """The attention of every layer and head on these tokens."""
    weights = maps_of(model, np.asarray(ids)[None].astype(np.int64))
    plots.save(plots.plot_attention(weights, [tokenizer.token(int(i)) for i in ids]), path)


def self_attention(model: Tagger | SpanReader, pieces: Pieces, text: str) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Where each token of a text looks, for each layer (heads, T, T); the tokens; and these with the model's tags, or its answer marked."""
    if isinstance(model, Tagger):
        example = sentences.tagged(text)
        row = tagging.read(pieces, example, model.max_length)
        notes = dict(zip(row.first.tolist(), tagging.tag(model, pieces, [example])[0], strict=True))
    else:
        question = sentences.question(text)
        row = answering.read(pieces, question, model.max_length)
        (span,) = answering.spans(model, pieces, [question])
        first, last = answering.ends(row, question)
        places = [0] if span is None else range(first[span[0]], last[span[1]] + 1)
        notes = dict.fromkeys(places, "no answer" if span is None else "answer")
    marks = {pieces.begin: "⊢", pieces.end: "⊣"}
    keys = [marks.get(int(i)) or pieces.tokenizer.token(int(i)).lstrip("␣") or "␣" for i in row.ids]
    noted = [f"{key}  {notes[i]}" if notes.get(i, "O") != "O" else key for i, key in enumerate(keys)]
    return maps_of(model, *pieces.arrays([row])), keys, noted


def draw_pair(model: Any, tokenizer: Any, source: str, target: str | None, path: Path) -> None:
    """Every layer and head: from what a model writes to what it read; of one that only reads, from token to token."""
    if isinstance(model, Tagger | SpanReader):
        weights, keys, queries = self_attention(model, Pieces(tokenizer), source)
        names = "token (key)", "token, and what the model says of it (query)"
    else:
        weights, keys, queries = cross_attention(model, Codec(tokenizer), source, target)
        names = "source token (key)", "target token written (query)"
    plots.save(plots.plot_attention(weights, keys, queries, *names), path)
