"""A conversation with a language model in a plain terminal: it streams, explains any token on request, changes strategy on the fly.

    python -m transformer generate DIR --interactive

It reads lines, so it also works over a pipe; then it shows no prompt of its own.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple, TextIO

import numpy as np

from ..data.tokenizers import Tokenizer
from ..decoding.generate import Step, steps
from ..decoding.sampling import Sampling, softmax
from ..evaluation.perplexity import entropy

HELP = """\
  some text          the model continues it; an empty line lets it write on
  :why               why the last token: the candidates, with their probabilities
  :why 12   :why 12 15   :why word       the same for token 12, tokens 12 to 15, or where "word" was written
  :tokens            the written tokens with their numbers
  :set NAME VALUE    change the strategy, for instance  :set temperature 0.7   :set top-p 0.9   :set top-p off
                     NAME is temperature, top-k, top-p, min-p, repetition-penalty, tokens, stop or seed
  :set               the settings as they are
  :again             write the last continuation anew
  :help   :quit      (Ctrl-C ends the text that is being written, Ctrl-D leaves)
  ::text             a text that begins with a colon"""
BEGIN = "Write the beginning of a text, or :help."
SHOWN = 8  # candidates that :why lists


def text_steps(
    model: Any, tokenizer: Tokenizer, ids: np.ndarray, tokens: int, sampling: Sampling, rng: Any = None, stop: str | None = None
) -> Iterator[tuple[Step, str]]:
    """Continue the ids (T,): each step with the text that it completes, up to ``tokens`` of them or the end of the text ``stop``."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tail = ""
    for step in steps(model, ids, tokens, sampling, rng=rng):
        piece = decoder.decode(tokenizer.token_bytes(int(step.tokens[0])))
        if stop and (end := (tail + piece).find(stop)) >= 0:
            yield step, piece[: end + len(stop) - len(tail)]
            return
        yield step, piece
        if stop:
            tail = (tail + piece)[-(len(stop) - 1) :] if len(stop) > 1 else ""
    if rest := decoder.decode(b"", True):
        yield step, rest


class Written(NamedTuple):
    """A token, and what it was chosen from."""

    token: int
    candidates: list[int]  # the most likely ones, and the token itself
    ranks: list[int]
    model: np.ndarray  # their probabilities as the model sees them
    drawn: np.ndarray  # and after the filters
    entropy: float  # of the model's distribution, in bits


def explain(step: Step) -> Written:
    """What is worth remembering of a step of one row."""
    token, model = int(step.tokens[0]), softmax(step.logits)[0]
    order = np.argsort(-model, kind="stable")
    rank = int(np.flatnonzero(order == token)[0])
    ranks = [*range(min(SHOWN, len(order))), *([rank] if rank >= SHOWN else [])]
    candidates = order[ranks]
    bits = float(entropy(step.logits)[0] / np.log(2))
    return Written(token, candidates.tolist(), ranks, model[candidates], step.probabilities[0, candidates], bits)


class Session:
    """The state between two lines; ``run`` reads them until the end."""

    def __init__(
        self, model: Any, tokenizer: Tokenizer, sampling: Sampling | None = None, tokens: int = 300, seed: int | None = None,
        stop: str | None = None, source: TextIO | None = None, output: TextIO | None = None,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer = model, tokenizer
        self.sampling, self.tokens, self.stop = sampling or Sampling(), tokens, stop
        self.rng = np.random.default_rng(seed)
        self.source, self.output = source or sys.stdin, output or sys.stdout
        self.terminal = self.source.isatty()
        if source is None and not self.terminal and isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        self.prompt = np.zeros(0, np.int64)
        self.written: list[Written] = []

    # Reading ----------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        if self.terminal:
            self.say(f"{self.settings()}\n{BEGIN}")
        while (line := self.read()) is not None:
            try:
                if not self.answer(line):
                    break
            except (ValueError, IndexError, FloatingPointError) as error:
                self.say(" ".join(str(error).split()))
            except KeyboardInterrupt:
                if not self.terminal:
                    raise
                self.say("\n(stopped)")
        return 0

    def read(self) -> str | None:
        """The next line, or None at the end."""
        while True:
            try:
                if self.terminal:
                    return self.typed()
                line = self.source.readline()
                return line.rstrip("\r\n") if line else None
            except EOFError:
                self.say("")
                return None
            except KeyboardInterrupt:
                if not self.terminal:
                    raise
                self.say("\n(:quit leaves)")

    @staticmethod
    def typed() -> str:
        """A line from the terminal, with its history where Python has that."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        return input("> ")

    def say(self, text: str) -> None:
        self.output.write(text + "\n")
        self.output.flush()

    # Answering --------------------------------------------------------------------------------------------------------

    def answer(self, line: str) -> bool:
        """Do what the line says; False to leave."""
        if line.startswith("::"):
            line = line[1:]
        elif line.startswith(":"):
            name, _, rest = line[1:].partition(" ")
            return self.order(name, rest.strip())
        if line:
            self.prompt, self.written = self.tokenizer.encode(line).astype(np.int64), []
            self.output.write(line)
        if len(self.prompt):
            self.write()
        else:
            self.say(BEGIN)
        return True

    def order(self, name: str, rest: str) -> bool:
        if name in ("quit", "q", "exit"):
            return False
        orders = {"help": lambda: self.say(HELP), "set": lambda: self.change(rest), "why": lambda: self.why(rest)}
        orders |= {"tokens": self.list_tokens, "again": self.again}
        if name not in orders:
            raise ValueError(f"no command :{name}; there are :why, :tokens, :set, :again, :help and :quit (and ::text for a text with a colon)")
        orders[name]()
        return True

    def again(self) -> None:
        """Write the last continuation anew."""
        self.check_written(len(self.prompt))
        self.written = []
        self.output.write(self.tokenizer.decode(self.prompt))
        self.write()

    def check_written(self, count: int) -> None:
        """ValueError for a command that is about a text, where there is none."""
        if not count:
            raise ValueError("nothing has been written yet; write the beginning of a text")

    def write(self) -> None:
        """Stream a continuation of what stands there, remembering what each token was chosen from."""
        ids = np.append(self.prompt, [w.token for w in self.written]).astype(np.int64)
        last: Step | None = None
        try:
            for step, piece in text_steps(self.model, self.tokenizer, ids, self.tokens, self.sampling, self.rng, self.stop):
                if step is not last:  # the last one comes twice when it left half a character
                    self.written.append(explain(step))
                last = step
                self.output.write(piece)
                self.output.flush()
        finally:
            self.say("")

    # Settings ---------------------------------------------------------------------------------------------------------

    def settings(self) -> str:
        stop = "" if self.stop is None else f", up to {json.dumps(self.stop, ensure_ascii=False)}"
        return f"{self.sampling}; {self.tokens} tokens at a time{stop}"

    def change(self, rest: str) -> None:
        """``:set NAME VALUE``; a value that is refused changes nothing."""
        if rest:
            name, _, value = rest.replace("=", " ", 1).partition(" ")
            self.set(name.strip().replace("-", "_"), value.strip())
        self.say(self.settings())

    def set(self, name: str, value: str) -> None:
        """Change one setting; ``off`` gives its neutral value."""
        neutral = {field.name: field.default for field in fields(Sampling)}
        off = value in ("off", "none", "None")
        if name == "stop":
            try:
                self.stop = None if off or not value else str(json.loads(value)) if value.startswith('"') else value
            except json.JSONDecodeError:
                raise ValueError(f':set stop {value}: expected text, or text in quotes such as "\\n\\n" for an empty line') from None
            return
        kind = int if name in ("tokens", "seed", "top_k") else float
        if name not in (*neutral, "tokens", "seed"):
            raise ValueError(f":set {name}: no such setting; there are {', '.join([*neutral, 'tokens', 'stop', 'seed']).replace('_', '-')}")
        try:
            number: Any = neutral.get(name) if off and name in neutral else kind(value)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise ValueError(f":set {name.replace('_', '-')} {value}: expected {wanted}{', or off' if name in neutral else ''}") from None
        smallest = {"tokens": 1, "seed": 0}
        if number is not None and number < smallest.get(name, number):
            raise ValueError(f":set {name} {number}: expected {smallest[name]} or more")
        if name == "tokens":
            self.tokens = number
        elif name == "seed":
            self.rng = np.random.default_rng(number)
        else:
            self.sampling = replace(self.sampling, **{name: number})

    # Explaining -------------------------------------------------------------------------------------------------------

    def why(self, rest: str) -> None:
        """``:why``, ``:why N``, ``:why N M`` or ``:why TEXT``."""
        count, parts = len(self.written), rest.split()
        self.check_written(count)
        if not parts:
            first = last = count
        elif len(parts) <= 2 and all(part.isdecimal() for part in parts):
            first, last = int(parts[0]), int(parts[-1])
            if not 1 <= first <= last <= count:
                raise ValueError(f":why {rest}: {count} tokens have been written; expected numbers from 1 to {count}, see :tokens")
        else:
            first, last = self.find(rest)
        for number in range(first, min(last, first + 9) + 1):
            self.show(number)
        if last > first + 9:
            self.say(f"(10 of {last - first + 1}; :why {first + 10} {last} shows the rest)")

    def find(self, text: str) -> tuple[int, int]:
        """The numbers of the first and the last token of ``text`` where it was first written."""
        pieces = [self.tokenizer.token_bytes(w.token) for w in self.written]
        at = b"".join(pieces).find(text.encode())
        if at < 0:
            raise ValueError(f":why {text}: not found in what was written; try :tokens for the numbers")
        ends = np.cumsum([len(piece) for piece in pieces])
        return tuple(int(n) + 1 for n in np.searchsorted(ends, [at, at + len(text.encode()) - 1], side="right"))  # type: ignore[return-value]

    def show(self, number: int) -> None:
        w = self.written[number - 1]
        before = np.append(self.prompt, [v.token for v in self.written[: number - 1]]).astype(np.int64)
        context = "".join(map(self.tokenizer.token, before[-24:].tolist()))[-24:]
        self.say(f"token {number}: {self.tokenizer.token(w.token)!r} after …{context}   (entropy {w.entropy:.1f} bits)")
        self.say("           model   drawn from")
        for token, rank, model, drawn in zip(w.candidates, w.ranks, w.model, w.drawn, strict=True):
            share = f"{100 * drawn:8.1f} %" if drawn else "       out"
            mark = "  <- chosen" if token == w.token else ""
            self.say(f"  {rank + 1:>3}. {100 * model:7.1f} % {share}  {'#' * round(20 * drawn):<20} {self.tokenizer.token(token)!r}{mark}")

    def list_tokens(self) -> None:
        """What was written, token by token, with numbers."""
        cells = [f"{i} {self.tokenizer.token(w.token)!r}" for i, w in enumerate(self.written, 1)]
        width = max(map(len, cells), default=0) + 2
        across = max(1, 100 // max(1, width))
        for start in range(0, len(cells), across):
            self.say("".join(f"{cell:<{width}}" for cell in cells[start : start + across]).rstrip())
