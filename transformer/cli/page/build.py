"""From a run folder to the page: everything that the browser needs, in one file."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.storage import write_atomically

from ...data.bpe import BPETokenizer
from ...data.codec import Codec
from ...data.tokenizers import CharTokenizer, Tokenizer
from ...decoding.generate import generate
from ...training import recipes
from ...training.checkpoints import RunFolder
from ...training.run_data import name_of_text
from .describe import describe_model, named_weights

LARGEST = 4_000_000  # bytes of a page
SCRIPTS = (
    "model.js", "tokenizer.js", "sampling.js", "session.js", "dom.js", "maps.js", "heads.js", "byhand.js", "next.js",
    "frame.js", "view.js",
)  # fmt: skip
CHAPTERS = {  # those that the page names: number to file and title
    "05": ("05_attention_as_soft_lookup", "Attention as soft lookup"),
    "06": ("06_q_k_v_and_many_heads", "Q, K, V and many heads"),
    "08": ("08_the_block", "The block"),
    "09": ("09_encoder_decoder", "Encoder–decoder"),
    "11": ("11_generating_text", "Generating text"),
    "12": ("12_decoding_and_quality", "Decoding and quality"),
    "14": ("14_doing_more_with_less", "Doing more with less"),
}
OPENINGS = ("The ", "the ", "\n", " ")


def write_page(folder: RunFolder, out: Path, text: str | None = None, book: str | None = None) -> int:
    """Write the page of a run and return its size in bytes.

    ``text`` is what it opens with, ``book`` where its links to chapters lead, {chapter} in it for one's name.
    Raises ValueError for a model that a page cannot show or has no room for, before anything is written.
    """
    folder.config()  # is there a run at all?
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: no such folder {out.parent}; make it first")
    if out.is_dir():
        raise ValueError(f"--out {out}: is a folder; name a file in it, such as {out / 'page.html'}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {out}: is no name of a page; let it end in .html, so that browsers and people know it")
    page = build_page(folder, text, book).encode("utf-8")
    write_atomically(out, lambda file: file.write(page))
    return len(page)


def build_page(folder: RunFolder, text: str | None = None, book: str | None = None) -> str:
    """The HTML of a run's page."""
    links = chapter_links(book)
    config = folder.config()
    if config.get("kind", "GPT") not in ("GPT", "Transformer"):
        raise ValueError(
            f"{folder.path}: is a {config['kind']!s:.40}; a page shows language models of a text (--model gpt) and "
            "encoder–decoders of tasks on pairs, such as dates or reverse"
        )
    model, tokenizer, _ = folder.load_model()
    try:
        run, halves = describe(model, tokenizer)
    except ValueError as error:
        raise ValueError(f"{folder.path}: {error}") from error
    check_room(folder, model.num_parameters())
    run["opens_with"], run["examples"] = opening(model, tokenizer, config, text)
    run["about"] = about(folder, config)
    run["chapters"] = links
    page = fill({
        "title": html.escape(f"{run['about']['name']}: a {run['model']['kind']} you can look into"),
        "style": source("style.css"),
        "run": json.dumps(run, ensure_ascii=True).replace("<", "\\u003c"),  # so that no text ends its script
        "weights": base64.b64encode(halves).decode("ascii"),
        "scripts": "\n".join(f'<script id="{name}">\n{source(name)}</script>' for name in SCRIPTS),
    })  # fmt: skip
    check_room(folder, model.num_parameters(), len(page.encode("utf-8")))
    return page


def describe(model: Any, tokenizer: Tokenizer) -> tuple[dict[str, Any], bytes]:
    """What the JavaScript needs of model and tokenizer, and the weights as halves; ValueError for what it lacks."""
    if type(tokenizer) not in (CharTokenizer, BPETokenizer):
        raise ValueError(f"has a {type(tokenizer).__name__}; a page has the tokenizers of characters and of byte pairs")
    described = {"model": describe_model(model)}
    described["weights"], halves = named_weights(model)
    described["tokenizer"] = {**tokenizer.to_dict(), "labels": [tokenizer.token(i) for i in range(tokenizer.vocab_size)]}
    if described["model"]["kind"] == "Transformer":
        codec = Codec(tokenizer)
        described["special"] = {"pad": codec.pad, "begin": codec.begin, "end": codec.end}
    return described, halves


def check_room(folder: RunFolder, parameters: int, size: int = 0) -> None:
    """ValueError when the page is, or cannot but be, larger than it may."""
    size = max(size, 8 * parameters // 3)  # two bytes for each, and base64 makes four of three
    if size >= LARGEST:
        raise ValueError(
            f"{folder.path}: its page would have {size / 1e6:.1f} MB, for {parameters:,} parameters in half precision; "
            f"expected less than {LARGEST / 1e6:.0f} MB, which has room for about 1.4 million: train a narrower model "
            "(--width), one of fewer layers (--layers), or one whose layers share their weights (--distinct-layers 1)"
        )


def opening(model: Any, tokenizer: Tokenizer, config: dict[str, Any], text: str | None) -> tuple[str, list[str]]:
    """What the page opens with, and examples: of a task, sources of its test part; of a language model, its words."""
    if config.get("kind", "GPT") == "Transformer":
        examples = task_examples(config)
        if text is None:
            return (examples or [""])[0], examples
        if len(Codec(tokenizer).encode(text)) > model.max_length:
            raise ValueError(f"--text has more tokens than this model reads, {model.max_length} with the end")
        return text, examples
    if text is not None:
        if not len(tokenizer.encode(text)):
            raise ValueError("--text is empty; give the page at least one character to open with, or leave it out")
        return text, []
    count = min(28, model.context_length)
    for start in OPENINGS:
        try:
            ids = tokenizer.encode(start)
        except ValueError:
            continue
        if len(ids) < count:
            return own_words(model, tokenizer, ids, count), []
    return own_words(model, tokenizer, np.array([min(tokenizer.vocab_size - 1, 32)]), count), []


def own_words(model: Any, tokenizer: Tokenizer, ids: np.ndarray, count: int) -> str:
    """``count`` tokens in all, drawn at a moderate temperature from a fixed seed."""
    written = generate(model, ids, count - len(ids), temperature=0.6, rng=0)
    return tokenizer.decode(written).rstrip("\ufffd")


def task_examples(config: dict[str, Any], count: int = 6) -> list[str]:
    """A few sources that the model has not been trained on; none when the task's data are not installed."""
    try:
        return list(dict.fromkeys(pair.source for pair in recipes.pair_task(config["task"]).sample("test")[:count]))
    except (ImportError, KeyError):
        return []


def about(folder: RunFolder, config: dict[str, Any]) -> dict[str, Any]:
    """What there is to tell of the run: its name, what it learned from, how long, and how well."""
    found: dict[str, Any] = {"name": folder.path.resolve().name, "task": config.get("task"), "learned": name_of_text(config)}
    try:
        rows = folder.read_log()
    except (OSError, ValueError, csv.Error):
        return found
    losses = [float(row[4]) for row in rows if row[4]]
    return {**found, "steps": len(rows), "loss": min(losses, default=None)}


def chapter_links(book: str | None) -> dict[str, tuple[str, str | None]]:
    """Number to title and address, None without a book.  ValueError for what is no address of chapters."""
    address = r"(https?://|[\w./]*/)[^\s<>\"']*"
    if book is not None and ("{chapter}" not in book or not re.fullmatch(address, book)):
        example = "https://example.org/{chapter}.html or ../{chapter}.html"
        raise ValueError(f"--book {book}: expected an address with {{chapter}} in it, such as {example}")
    return {number: (title, book and book.replace("{chapter}", file)) for number, (file, title) in CHAPTERS.items()}


def source(name: str) -> str:
    """A file of this folder."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def fill(parts: dict[str, str]) -> str:
    """page.html with its places filled, each once, whatever the parts hold."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], source("page.html"))
