"""Real weights: checkpoints in the formats of the transformers library, read and written.

A checkpoint is a folder with ``config.json`` and ``model.safetensors``.  What is trained here opens there, with
``AutoModelForCausalLM.from_pretrained(folder)``, and the other way round.  The formats are GPT-2's, Llama's and BERT's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files import brief, check_finite
from ..data.tokenizers import Tokenizer
from ..models.bert import BERT, MaskedLM, SpanReader, Tagger
from ..models.build import outline
from ..models.gpt import GPT
from . import bert, gpt2, llama
from .files import CONFIG, INDEX, WEIGHTS, json_text, read_json, read_safetensors, read_weights, safetensors_library, write_safetensors, write_text
from .names import Format, tidied, to_ours, to_theirs
from .sentences import SentenceEncoder, load_sentence_encoder
from .tokenizers import TOKENIZER_FILES, read_tokenizer, tokenizer_files

__all__ = [
    "SentenceEncoder", "from_arrays", "load_pretrained", "load_sentence_encoder", "read_safetensors", "read_tokenizer", "save_pretrained",
    "to_arrays", "tokenizer_files", "write_safetensors",
]  # fmt: skip

FORMATS: dict[str, Format] = {"gpt2": gpt2.FORMAT, "llama": llama.FORMAT, "bert": bert.FORMAT}


def load_pretrained(folder: str | Path, interleaved: bool = False) -> Any:
    """The model in a checkpoint folder, in eval mode: a GPT (from GPT-2's or Llama's format), or a BERT, alone or under
    a head: a MaskedLM, a Tagger or a SpanReader.

    ``interleaved`` gives a Llama whose rotary positions turn neighbouring coordinates, as in the paper; it computes the same.
    Raises FileNotFoundError; ValueError for another kind of model, a damaged file, or weights that do not fit the config;
    ImportError without the extra "pretrained".
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    try:
        return from_arrays(config, read_weights(folder), interleaved)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{folder}: {brief(error)}" if str(folder) not in str(error) else brief(error, 1000)) from error


def from_arrays(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], interleaved: bool = False) -> Any:
    """The model that a config.json and arrays under the names of its format describe; ValueError when they do not fit."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FORMATS:
        if "model" in config and "format" in config:
            raise ValueError(f"{CONFIG} is that of a run of this project; open it with transformer.training.checkpoints.RunFolder(...).load_model()")
        raise ValueError(f"{CONFIG} has model_type {kind!r:.80}; expected one of {', '.join(FORMATS)}")
    format = FORMATS[kind]
    arrays = tidied(format, arrays)
    check_finite(arrays)
    with outline(config, arrays, ("n_layer", "num_hidden_layers")):
        model: Any = llama.build(config, arrays, interleaved) if kind == "llama" else format.build(config, arrays)
    if getattr(model, "output", True) is None:
        arrays.pop("lm_head.weight", None)  # a copy of the embeddings
    table = [row._replace(theirs=row.theirs.removeprefix(format.prefix)) for row in format.table(model)]
    return model.load_state_dict(to_ours(table, arrays, model)).eval()


def save_pretrained(model: Any, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
    """Write a GPT, BERT, MaskedLM, Tagger or SpanReader, and its tokenizer, as the transformers library has them.

    Raises TypeError for another model, ValueError for a GPT that neither GPT-2's nor Llama's format can express, FileExistsError when
    the folder holds files that contradict it, all before anything is written; ImportError without the extra "pretrained".
    """
    config, arrays = to_arrays(model)
    texts = {} if tokenizer is None else tokenizer_files(tokenizer)
    if tokenizer is not None and tokenizer.vocab_size > config["vocab_size"]:
        sizes = f"the tokenizer has {tokenizer.vocab_size} tokens, the model {config['vocab_size']}"
        raise ValueError(f"save_pretrained: {sizes}; they do not belong together")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; pass the name of a folder")
    if (folder / CONFIG).exists() and "model_type" not in read_json(folder / CONFIG):
        raise FileExistsError(f"{folder}: holds a {CONFIG} that is no checkpoint's, and would be lost; choose another folder")
    for name in (INDEX, *(TOKENIZER_FILES if texts else ())):
        if name not in texts and (folder / name).exists():
            raise FileExistsError(f"{folder}: holds {name} of another checkpoint, which would be read in place of ours; choose another folder")
    safetensors_library()  # its absence too is told before the folder is made
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(arrays, folder / WEIGHTS)
    for name, text in {CONFIG: json_text(config), **texts}.items():
        write_text(text, folder / name)


def to_arrays(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config.json of a model and its arrays, under the names and in the layout of its format."""
    kind = format_of(model)
    table, state = FORMATS[kind].table(model), model.state_dict()
    if kind == "gpt2":
        state = gpt2.with_biases(state, table)
    dtype = str(next(iter(state.values())).dtype)
    return {**FORMATS[kind].config(model), "torch_dtype": dtype}, to_theirs(table, state)


def format_of(model: Any) -> str:
    """The name of the format that can express the model."""
    if isinstance(model, BERT | MaskedLM | Tagger | SpanReader):
        return "bert"
    if not isinstance(model, GPT):
        expected = "expected a GPT, BERT, MaskedLM, Tagger or SpanReader"
        raise TypeError(f"save_pretrained: {type(model).__name__} has no format of the transformers library; {expected}")
    reasons = []
    for name in ("gpt2", "llama"):
        try:
            FORMATS[name].config(model)
        except ValueError as error:
            reasons.append(str(error))
        else:
            return name
    raise ValueError(f"save_pretrained: no format of the transformers library expresses this GPT: {'; '.join(reasons)}")
