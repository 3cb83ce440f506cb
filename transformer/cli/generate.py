"""The command ``generate``: text of a language model; of a run on a task, the answer to the prompt."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.storage import write_atomically

from ..data.codec import Codec, Pieces
from ..data.corpora import read_text
from ..data.tasks import sentences
from ..data.tokenizers import Tokenizer
from ..decoding.beams import beam_search
from ..decoding.generate import generate
from ..decoding.sampling import Sampling
from ..decoding.translate import check_length, translate
from ..decoding.window import Spread, evaluating
from ..parallel import world
from ..training import answering, tagging
from ..training.checkpoints import RunFolder
from ..training.classification import Classification
from ..training.run_data import is_task, objective_of_run
from . import options
from .interactive import Session, text_steps
from .options import UsageError, positive

GROUP = 16  # prompts that are read together


def add_commands(commands: Any) -> None:
    write = options.on_run(commands, "generate", generate_command, "write text with a trained model")
    write.add_argument("--prompt", help="default: a new line, or what the vocabulary has in its place")
    write.add_argument("--prompts", metavar="FILE", help="a prompt on each line; writes a JSON object for each, in order")
    write.add_argument("--out", metavar="FILE", help="where the answers to --prompts go; default: standard output")
    write.add_argument("--tokens", type=int, metavar="N", help="default 300; for a run on a task, as many as the answer needs")
    write.add_argument("--temperature", type=float, metavar="X", help="0 is greedy (default 0.8)")
    write.add_argument("--top-k", type=int, metavar="N")
    write.add_argument("--top-p", type=float, metavar="X")
    write.add_argument("--min-p", type=float, metavar="X")
    write.add_argument("--repetition-penalty", type=float, metavar="X")
    write.add_argument("--beams", type=positive, metavar="N", help="beam search instead of sampling")
    write.add_argument("--stop", metavar="S", help="end after this text")
    write.add_argument("--seed", type=int, metavar="N")
    write.add_argument("--interactive", action="store_true", help="a prompt that streams, explains and changes strategy on the fly")


def generate_command(args: argparse.Namespace) -> int:
    """Text to standard output, as it is drawn; of a run on a task, the answer to the prompt."""
    folder = RunFolder(args.dir)
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    if args.prompts:
        return generate_all(args, folder)
    if args.out:
        raise UsageError("--out is for the answers to --prompts FILE; a single text goes to standard output")
    config = folder.config()
    options.check_generation(args, config.get("kind", "GPT"))
    if is_task(config):
        if not args.prompt:
            raise UsageError("--prompt is missing: the text to translate, to classify, to tag or to find an answer in")
        print(answers(folder, [args.prompt], args.beams or 1, args.tokens)[0])
        return 0
    model, tokenizer, _ = folder.load_model()
    sampling, tokens = sampling_of(args), 300 if args.tokens is None else args.tokens
    if args.interactive:
        if args.beams or args.prompt is not None:
            raise UsageError("--interactive asks for its prompts, and samples; leave out --prompt and --beams")
        return Session(model, tokenizer, sampling, tokens, args.seed, args.stop).run()
    prompt = default_prompt(tokenizer) if args.prompt is None else args.prompt
    ids = tokenizer.encode(prompt)
    if not len(ids):
        raise UsageError("--prompt is empty; give it at least one character")
    if args.beams:
        sys.stdout.write(tokenizer.decode(beam_search(model, ids, tokens, args.beams)) + "\n")
        return 0
    pieces = text_steps(model, tokenizer, ids, tokens, sampling, np.random.default_rng(args.seed), args.stop)
    first = list(itertools.islice(pieces, 1))  # a wrong setting is reported here, before any text
    sys.stdout.write(prompt)
    for _, piece in itertools.chain(first, pieces):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def sampling_of(args: argparse.Namespace) -> Sampling:
    return Sampling(**{"temperature": 0.8} | {name: getattr(args, name) for name in options.SAMPLING if options.given(args, name)})


def default_prompt(tokenizer: Tokenizer) -> str:
    """A new line; where the vocabulary has none, a space; where it has neither, its first token."""
    for prompt in ("\n", " ", *(tokenizer.decode([i]) for i in range(min(tokenizer.vocab_size, 256)))):
        with contextlib.suppress(ValueError):
            if len(tokenizer.encode(prompt)):
                return prompt
    raise UsageError("--prompt is missing, and the vocabulary has no token to begin with")


def generate_all(args: argparse.Namespace, folder: RunFolder) -> int:
    """An answer to every line of a file."""
    if args.prompt is not None or args.interactive:
        raise UsageError("--prompts brings its own prompts; leave out --prompt and --interactive")
    if args.out:
        options.check_folder("--out", args.out)
    config = folder.config()
    options.check_generation(args, config.get("kind", "GPT"))
    lines, workers = read_prompts(args.prompts), world()
    if is_task(config):
        texts = answers(folder, lines, args.beams or 1, args.tokens, spread=workers.spread)
    else:
        model, tokenizer, _ = folder.load_model()
        sampling, tokens = sampling_of(args), 300 if args.tokens is None else args.tokens
        rows = encoded(tokenizer, lines, args.prompts)
        seed = workers.first(lambda: int(np.random.default_rng().integers(1 << 32)) if args.seed is None else args.seed)
        texts = continuations(model, tokenizer, rows, tokens, sampling, seed, args.stop, args.beams or 0, workers.spread)
    found = "".join(json.dumps({"prompt": line, "text": text}, ensure_ascii=False) + "\n" for line, text in zip(lines, texts, strict=True))
    if args.out:
        workers.first(lambda: write_atomically(args.out, lambda file: file.write(found.encode("utf-8"))))
    else:
        sys.stdout.write(found)
    return 0


# Prompts from a file: in order, and the same text however many processes share the work, since neighbours are read together in groups
# that are the same for any number of them, and each prompt has a random generator of its own ---------------------------------------------


def read_prompts(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; ValueError for an empty one, with its number, as for a file that is not text."""
    prompts = read_text(path).removesuffix("\n").split("\n")
    for number, prompt in enumerate(prompts, 1):
        if not prompt:
            raise ValueError(f"{path}, line {number}: is empty; every line is a prompt of at least one character")
    return prompts


def encoded(tokenizer: Tokenizer, prompts: Sequence[str], where: str | Path) -> list[np.ndarray]:
    """The ids of each prompt; ValueError with the number of the line that the tokenizer cannot read."""
    rows = []
    for number, prompt in enumerate(prompts, 1):
        try:
            rows.append(tokenizer.encode(prompt))
        except ValueError as error:
            raise ValueError(f"{where}, line {number}: {error}") from error
    return rows


def continuations(
    model: Any, tokenizer: Tokenizer, rows: Sequence[np.ndarray], tokens: int, sampling: Sampling, seed: int, stop: str | None = None,
    num_beams: int = 0, spread: Spread = map,
) -> list[str]:  # fmt: skip
    """What follows each prompt (ids): up to ``tokens``, or to the end of the text ``stop``; by beam search where ``num_beams``."""

    def write(group: range) -> list[str]:
        prompts = [rows[i] for i in group]
        if num_beams:
            found = [beam_search(model, prompt, tokens, num_beams) for prompt in prompts]
        else:
            own = [np.random.default_rng([seed, i]) for i in group]
            sequences = [tokenizer.encode(stop).tolist()] if stop else None
            found = list(generate(model, prompts, tokens, **vars(sampling), rng=own, stop_sequences=sequences))
        texts = [tokenizer.decode(ids[len(prompt) :]) for prompt, ids in zip(prompts, found, strict=True)]
        return [text[: text.find(stop) + len(stop)] if stop and stop in text else text for text in texts]

    groups = [range(start, min(start + GROUP, len(rows))) for start in range(0, len(rows), GROUP)]
    with evaluating(model):
        return [text for texts in spread(write, groups) for text in texts]


def answers(folder: RunFolder, texts: Sequence[str], num_beams: int = 1, limit: int | None = None, spread: Spread = map) -> list[str]:
    """What the model makes of each text: the target, the class, the sentence with its spans in brackets, or the answer."""
    model, tokenizer, config = folder.load_model()
    if limit is not None and limit < 1:
        raise ValueError(f"--tokens {limit}; expected 1 or more")
    if config["kind"] == "ImageClassifier":
        raise ValueError(f"{folder.path}: reads images, so there is nothing to write for a text")
    if config["kind"] == "Classifier":
        work = objective_of_run(config, tokenizer)
        assert isinstance(work, Classification)
        return work.answers(model, texts, spread=spread)
    if config["kind"] == "Tagger":
        examples = [sentences.tagged(text) for text in texts]
        if config["task"] == "roles" and (plain := [e.source for e in examples if e.predicate is None]):
            raise ValueError(f"{plain[0]!r}: of which verb? Put it between asterisks: the dog *chased* the cat")
        found = tagging.tag(model, Pieces(tokenizer), examples, spread=spread)
        return [tagging.bracketed(example, tags) for example, tags in zip(examples, found, strict=True)]
    if config["kind"] == "SpanReader":
        questions = [sentences.question(text) for text in texts]
        return [answering.said(a) for a in answering.answer(model, Pieces(tokenizer), questions, spread=spread)]
    for text in texts:
        check_length(model, Codec(tokenizer), text)
    return translate(model, Codec(tokenizer), texts, limit, num_beams, spread=spread)
