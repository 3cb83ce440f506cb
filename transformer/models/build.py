"""The model that a configuration describes: a kind and its sizes; and room for one whose weights come from a file.

Then no random numbers are drawn, and no more memory is taken than the file accounts for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.random import drawing_from

from .bert import SpanReader, Tagger
from .classifier import Classifier, ImageClassifier
from .gpt import GPT
from .rnn import RecurrentLM, Seq2SeqRNN
from .stacks import share_layers
from .transformer import Transformer

MODELS: dict[str, Callable[..., Any]] = {
    **{m.__name__: m for m in (GPT, RecurrentLM, Transformer, Seq2SeqRNN, Classifier, ImageClassifier)},
    "Tagger": Tagger.sized,
    "SpanReader": SpanReader.sized,
}
SMALL = 1 << 20  # a size up to this one may stand in a configuration whatever the file holds: a context length, say
MOST_LAYERS = 1000  # of a model whose layers share their weights


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


class Blank:
    """In the place of a random generator: zeros, up to so many in all."""

    def __init__(self, budget: int) -> None:
        self.budget = self.left = budget

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = ()) -> np.ndarray:
        """Zeros (size); ValueError when the model turns out larger than the file."""
        self.left -= math.prod(size if isinstance(size, tuple) else (size,))
        if self.left < 0:
            raise ValueError(f"it describes a model of more than {self.budget:,} numbers, far more than the file of weights holds")
        return np.zeros(size, np.float32)


@contextmanager
def outline(sizes: Any, arrays: Mapping[str, np.ndarray], layers: Iterable[str] = (), copies: int = 1) -> Iterator[None]:
    """Within it a model with these ``sizes`` may be built, to be filled with ``arrays``; ValueError when they cannot belong together.

    ``layers`` names the sizes that count layers, each of which has arrays of its own unless ``copies`` share them.
    """
    total = sum(array.size for array in arrays.values())
    for name, value in sizes.items() if isinstance(sizes, Mapping) else ():
        if isinstance(value, int) and not isinstance(value, bool):
            most = len(arrays) * copies if name in layers else max(SMALL, total)
            if abs(value) > most:
                what = f"{len(arrays)} arrays" if name in layers else f"{total:,} numbers"
                raise ValueError(f"{name} is {str(value)[:40]}, and the file of weights holds {what} in all")
    if not 1 <= copies <= MOST_LAYERS:
        raise ValueError(f"{copies} layers share weights; expected at most {MOST_LAYERS}")
    with drawing_from(Blank(4 * total * copies + SMALL)):  # somewhat larger ones get as far as the message that says what does not fit
        yield
