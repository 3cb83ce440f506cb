r"""Recurrent models, the family that attention was first added to, and then replaced.

A GRU keeps one state, an LSTM two; ⊙ is the product entry by entry, σ the logistic function:

.. math::
    \text{GRU:}\quad & r, z = \sigma(x W_{r,z} + h U_{r,z}), \quad n = \tanh(x W_n + r \odot h U_n), \quad h' = n + z \odot (h - n) \\
    \text{LSTM:}\quad & i, f, o = \sigma(x W_{i,f,o} + h U_{i,f,o}), \quad g = \tanh(x W_g + h U_g), \quad
    c' = f \odot c + i \odot g, \quad h' = o \odot \tanh c'

An encoder–decoder without attention squeezes the source into one vector c.  With additive attention every target step looks back for itself:

.. math:: e_{ij} = v^\top \tanh(s_{i-1} W + h_j U), \qquad \alpha_i = \operatorname{softmax}(e_i), \qquad c_i = \sum_j \alpha_{ij} h_j

Sources: Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000); Cho et al. (2014); Bahdanau, Cho & Bengio (2015).
``B`` batch, ``S`` source length, ``T`` target length, ``C`` width, ``H`` hidden width, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import Tensor, concatenate, linear, nn, reshape, sigmoid, softmax, stack, tanh, where
from minigrad.random import generator

from ..attention import KVCache, closed
from .inputs import check_sizes, checked_ids, checked_mask, left_padding

State = tuple[Any, ...]  # (h,) or (h, c), each (B, H)


class Cell(nn.Module):
    """One step of recurrence: an input (B, C) and a state give the next state; the weights of the gates lie side by side."""

    kinds = 0  # how many gates
    states = 1

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        if input_dim < 1 or hidden_dim < 1:
            raise ValueError(f"{type(self).__name__}: sizes must be positive, got {input_dim} → {hidden_dim}")
        self.hidden_dim = hidden_dim
        width = self.kinds * hidden_dim
        std = 1 / math.sqrt(hidden_dim)
        self.input = nn.Linear(input_dim, width)
        self.recurrent = nn.Parameter(generator().normal(0, std, (hidden_dim, width)))
        self.recurrent_bias = nn.Parameter(np.zeros(width))

    def forward(self, x: Any, state: State, pushed: Any = None) -> State:
        """Input (B, C) and the state → the next state; ``pushed`` is added to the inputs of the gates."""
        a = self.input(x)
        return self.step(a if pushed is None else a + pushed, state)

    def step(self, a: Any, state: State) -> State:
        """Inputs of the gates (B, gates · H) and the state → the next state."""
        raise TypeError(f"{type(self).__name__} defines no step")

    def start(self, batch: int) -> State:
        return (np.zeros((batch, self.hidden_dim), self.recurrent.dtype),) * self.states


class GRUCell(Cell):
    """Gates r, z, n in this order."""

    kinds, states = 3, 1

    def step(self, a: Any, state: State) -> State:
        """(B, 3H), (h,) → (h',)."""
        (h,), H = state, self.hidden_dim
        b = linear(h, self.recurrent, self.recurrent_bias)
        rz = sigmoid(a[:, : 2 * H] + b[:, : 2 * H])
        n = tanh(a[:, 2 * H :] + rz[:, :H] * b[:, 2 * H :])
        return (n + rz[:, H:] * (h - n),)


class LSTMCell(Cell):
    """Gates i, f, o, g in this order; f starts near 1, so that a new network remembers (Jozefowicz et al. 2015)."""

    kinds, states = 4, 2

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim, hidden_dim)
        self.recurrent_bias.data[hidden_dim : 2 * hidden_dim] = 1.0

    def step(self, a: Any, state: State) -> State:
        """(B, 4H), (h, c) → (h', c')."""
        (h, c), H = state, self.hidden_dim
        a = a + linear(h, self.recurrent, self.recurrent_bias)
        ifo = sigmoid(a[:, : 3 * H])
        c = ifo[:, H : 2 * H] * c + ifo[:, :H] * tanh(a[:, 3 * H :])
        return ifo[:, 2 * H :] * tanh(c), c


CELLS: dict[str, type[Cell]] = {"gru": GRUCell, "lstm": LSTMCell}


def cell_of(model: str, name: str) -> type[Cell]:
    """The class of cell of that name; ValueError for another."""
    if name not in CELLS:
        raise ValueError(f"{model}: cell={name!r}; expected one of {', '.join(CELLS)}")
    return CELLS[name]


def run(cell: Cell, inputs: Sequence[Any], mask: np.ndarray | None = None, state: State | None = None) -> tuple[list[Any], State]:
    """The states h, (B, H) for each step, over inputs (B, C) for each step, and the last state whole.

    Where the mask (B, T) is 0 the state stays as it is, so that padding changes nothing, on whichever side it stands.
    """
    state = cell.start(len(inputs[0])) if state is None else state
    found = []
    for t, x in enumerate(inputs):
        new = cell(x, state)
        if mask is not None:
            real = mask[:, t, None].astype(bool)
            new = tuple(where(real, n, old) for n, old in zip(new, state, strict=True))
        state = new
        found.append(state[0])
    return found, state


class AdditiveAttention(nn.Module):
    """Where to look, from the decoder's state and each state of the encoder.  Source: Bahdanau et al. (2015), appendix A.1.2."""

    kept_weights: list[np.ndarray] | None = None  # filled by attention_maps()

    def __init__(self, query_dim: int, memory_dim: int, hidden_dim: int) -> None:
        self.query = nn.Linear(query_dim, hidden_dim)
        self.key = nn.Linear(memory_dim, hidden_dim, bias=False)
        self.score = nn.Linear(hidden_dim, 1, bias=False)

    def forward(self, query: Any, memory: Any, mask: Any = None, keys: Any = None) -> Tensor:
        """Query (B, H), memory (B, S, M), mask (B, S) with 0 for padding → the vector looked at, (B, M).

        ``keys`` is ``self.key(memory)``, for those who ask more than once.
        """
        keys = self.key(memory) if keys is None else keys
        B, S = keys.shape[:2]
        scores = reshape(self.score(tanh(keys + reshape(self.query(query), (B, 1, -1)))), (B, S))
        if mask is not None:
            scores = scores + closed(mask, scores.dtype)
        weights = softmax(scores)
        if self.kept_weights is not None:
            self.kept_weights.append(weights.data[:, None, None])
        return reshape(reshape(weights, (B, 1, S)) @ memory, (B, -1))


class Seq2SeqRNN(nn.Module):
    """``model(ids, mask, target_ids)`` returns logits (B, T, V), called like the Transformer: the encoder reads the source in both directions.

    With ``attention`` each step of the decoder gets its own mixture of the encoder's states; without, all get the same summary, the last
    states of both directions.  Nothing else differs.  ``cell`` is "gru" or "lstm".
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_dim: int | None = None,
        cell: str = "gru",
        attention: bool = True,
        max_length: int = 512,
        dropout: float = 0.0,
    ) -> None:
        check_sizes("Seq2SeqRNN", vocab_size=vocab_size, embedding_dim=embedding_dim, hidden_dim=hidden_dim, max_length=max_length)
        make, H = cell_of("Seq2SeqRNN", cell), embedding_dim if hidden_dim is None else hidden_dim
        self.vocab_size, self.max_length, self.hidden_dim = vocab_size, max_length, H
        self.embedding = nn.Embedding(vocab_size, embedding_dim, 1.0)
        self.forwards, self.backwards = make(embedding_dim, H), make(embedding_dim, H)
        self.bridge = nn.Linear(2 * H, make.states * H)
        self.attention = AdditiveAttention(H, 2 * H, H) if attention else None
        self.decoder = make(embedding_dim, H)
        self.context = nn.Linear(2 * H, make.kinds * H, bias=False)
        self.output = nn.Linear(3 * H, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Any, attention_mask: Any = None, target_ids: Any = None) -> Tensor:
        """Ids (B, S), mask 1 for tokens and 0 for padding, targets (B, T), padded on the right if at all → logits (B, T, V)."""
        memory = self.encode(input_ids, attention_mask)
        return self.decode(input_ids if target_ids is None else target_ids, memory, attention_mask)

    def encode(self, input_ids: Any, attention_mask: Any = None) -> Tensor:
        """(B, S) → the states of both directions, (B, S, 2H); over padding they stand still."""
        ids = checked_ids("Seq2SeqRNN", input_ids, self.vocab_size, self.max_length)
        mask = checked_mask("Seq2SeqRNN", attention_mask, ids)
        x = [self.dropout(self.embedding(column)) for column in ids.T]  # S times (B, C)
        ahead, _ = run(self.forwards, x, mask)
        back, _ = run(self.backwards, x[::-1], None if mask is None else mask[:, ::-1])
        return concatenate([stack(ahead, axis=1), stack(back[::-1], axis=1)], axis=-1)

    def decode(self, target_ids: Any, memory: Any, attention_mask: Any = None, cache: KVCache | None = None) -> Tensor:
        """(B, T), memory (B, S, 2H) → logits (B, T, V); a ``cache`` holds the state after the tokens read before."""
        ids = checked_ids("Seq2SeqRNN", target_ids, self.vocab_size, self.max_length)
        H = self.hidden_dim
        summary = concatenate([memory[:, -1, :H], memory[:, 0, H:]], axis=-1)  # (B, 2H)
        state = recalled(cache, self.decoder)
        if state is None:
            begin = tanh(self.bridge(summary))
            state = tuple(begin[:, i * H : (i + 1) * H] for i in range(self.decoder.states))
        keys = None if self.attention is None else self.attention.key(memory)
        c, found = summary, []
        pushed = self.context(summary) if self.attention is None else None
        for column in ids.T:  # T times (B,)
            if self.attention is not None:
                c = self.attention(state[0], memory, attention_mask, keys)
                pushed = self.context(c)
            state = self.decoder(self.dropout(self.embedding(column)), state, pushed)
            remember(cache, state)
            found.append(concatenate([state[0], c], axis=-1))
        return self.output(self.dropout(stack(found, axis=1)))


class RecurrentLM(nn.Module):
    """A recurrent language model: ``model(ids)`` gives, at each position, the logits of the next token, (B, T, V), called like GPT.

    Source: Mikolov et al. (2010), with gated cells and the tied output of Press & Wolf (2017) when the widths allow.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        num_layers: int,
        context_length: int,
        cell: str = "lstm",
        dropout: float = 0.0,
        tie_embeddings: bool = True,
    ) -> None:
        check_sizes("RecurrentLM", vocab_size=vocab_size, embedding_dim=embedding_dim, num_layers=num_layers, context_length=context_length)
        make = cell_of("RecurrentLM", cell)
        self.vocab_size, self.context_length = vocab_size, context_length
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim, 1 / math.sqrt(embedding_dim))
        self.cells = nn.ModuleList([make(embedding_dim, embedding_dim) for _ in range(num_layers)])
        self.output = None if tie_embeddings else nn.Linear(embedding_dim, vocab_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Any, cache: KVCache | None = None, attention_mask: Any = None) -> Tensor:
        """(B, T) → logits (B, T, V); with a ``cache`` the ids continue the tokens that it holds; padding, if any, on the left."""
        ids = checked_ids("RecurrentLM", input_ids, self.vocab_size)
        start = 0 if cache is None else cache.length
        mask = None
        if attention_mask is not None:
            left_padding("RecurrentLM", attention_mask, (len(ids), start + ids.shape[1]))
            mask = (attention_mask if hasattr(attention_mask, "dtype") else np.asarray(attention_mask))[:, start:]
        scale = math.sqrt(self.token_embedding.weight.shape[1])
        columns = [self.token_embedding(column) * scale for column in ids.T]  # T times (B, C)
        for i, cell in enumerate(self.cells):
            known = None if cache is None else cache.layer(i)
            columns, state = run(cell, [self.dropout(x) for x in columns], mask, recalled(known, cell))
            remember(known, state, ids.shape[1])
        x = self.dropout(stack(columns, axis=1))  # (B, T, C)
        return linear(x, self.token_embedding.weight.mT) if self.output is None else self.output(x)


def recalled(cache: KVCache | None, cell: Cell) -> State | None:
    """The state that a cache holds; None where it holds nothing."""
    if cache is None or not cache.length:
        return None
    return tuple(kept[:, 0, -1] for kept in cache.contents()[: cell.states])


def remember(cache: KVCache | None, state: State, steps: int = 1) -> None:
    """Keep a state as the key and value of the last of ``steps`` tokens; a recurrent model looks no further back."""
    if cache is not None:
        h, c = state[0], state[-1]
        B, H = h.shape
        cache.append(*(Tensor(np.broadcast_to(a.data[:, None, None], (B, 1, steps, H))) for a in (h, c)))
