"""The model that a configuration describes: a kind and its sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .bert import SpanReader, Tagger
from .classifier import Classifier, ImageClassifier
from .gpt import GPT
from .rnn import RecurrentLM, Seq2SeqRNN
from .sharing import share_layers
from .transformer import Transformer

MODELS: dict[str, Callable[..., Any]] = {
    **{m.__name__: m for m in (GPT, RecurrentLM, Transformer, Seq2SeqRNN, Classifier, ImageClassifier)},
    "Tagger": Tagger.sized,
    "SpanReader": SpanReader.sized,
}


def build_model(config: dict[str, Any], where: Any = "config") -> Any:
    """The model that a configuration describes, a GPT unless its "kind" says otherwise; ValueError when it describes none."""
    try:
        kind, sizes = config.get("kind", "GPT"), config["model"]
        if not isinstance(kind, str) or kind not in MODELS or not isinstance(sizes, dict):
            raise ValueError(f"the kind is {kind!r:.80}, the sizes are a {type(sizes).__name__}; expected one of {', '.join(MODELS)}, and an object")
        model = MODELS[kind](**sizes)
        return share_layers(model, config["distinct_layers"]) if "distinct_layers" in config else model
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"{where}: does not describe a model: {error}") from error
