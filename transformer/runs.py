"""The run folder: what a training run leaves behind, written so that a crash at any moment leaves it usable.

``config.json`` and ``tokenizer.json`` are written once; ``last.npz`` (model, optimizer, randomness, progress) and ``best.npz`` (model)
are replaced whole; ``log.csv`` and ``samples.txt`` grow, and are cut back to the checkpoint on ``--resume``.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import load, save
from minigrad.storage import write_atomically

from .compression.packing import unpack
from .compression.sharing import share_layers
from .data.tokenizers import Tokenizer, load_tokenizer
from .models.bert import SpanReader, Tagger
from .models.decoder_only import GPT
from .models.encoder_decoder import Transformer
from .models.encoder_only import Classifier, ImageClassifier
from .models.recurrent import RecurrentLM, Seq2SeqRNN

FORMAT = "attention-by-hand run 1"
MODELS: dict[str, Callable[..., Any]] = {
    **{m.__name__: m for m in (GPT, RecurrentLM, Transformer, Seq2SeqRNN, Classifier, ImageClassifier)},
    "Tagger": Tagger.sized,
    "SpanReader": SpanReader.sized,
}
LOG_COLUMNS = ["step", "loss", "learning_rate", "gradient_norm", "validation_loss"]


class RunFolder:
    """A folder with fixed file names; errors are ValueError or FileNotFoundError with one line that names the file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.tokenizer_file = self.path / "tokenizer.json"
        self.last_file = self.path / "last.npz"
        self.best_file = self.path / "best.npz"
        self.log_file = self.path / "log.csv"
        self.samples_file = self.path / "samples.txt"

    # Beginning --------------------------------------------------------------------------------------------------------

    def create(self, config: dict[str, Any], tokenizer: Tokenizer | None) -> None:
        """Start a new run (images need no tokenizer); FileExistsError when the folder holds one already, or a file that would be lost."""
        self.unused()
        self.path.mkdir(parents=True, exist_ok=True)
        self.sweep()
        if tokenizer is not None:
            tokenizer.save(self.tokenizer_file)
        config = {"format": FORMAT, **config, "tokenizer": None if tokenizer is None else self.tokenizer_checksum()}
        text = json.dumps({**config, "checksum": _checksum(config)}, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self.config_file, lambda file: file.write(text.encode("utf-8")))
        self.rewrite_log([])

    def unused(self) -> None:
        """FileExistsError unless a new run may be written here."""
        if self.config_file.exists():
            raise FileExistsError(f"{self.path}: holds a run already; continue it with --resume, or choose another --out")
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path}: is a file; choose another --out")
        for file in (self.last_file, self.best_file, self.log_file, self.samples_file):
            if file.exists():
                raise FileExistsError(f"{file}: exists already, and a new run would replace it; choose another --out")

    def config(self) -> dict[str, Any]:
        """The settings of the run."""
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: no such run folder; make one with: python -m transformer train --out {self.path}")
        if not self.config_file.exists():
            raise FileNotFoundError(f"{self.config_file}: missing, so {self.path} is not a run folder of this project")
        try:
            config = json.loads(self.config_file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.config_file}: not readable as JSON: {error}") from error
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ValueError(f"{self.config_file}: not a configuration of this project (format {FORMAT!r} expected)")
        if config.pop("checksum", None) != _checksum(config):
            raise ValueError(f"{self.config_file}: damaged or edited: its checksum does not match; put the original back, or train anew")
        return config

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with."""
        if not self.tokenizer_file.exists():
            raise FileNotFoundError(f"{self.tokenizer_file}: missing; the model's ids mean nothing without it")
        tokenizer = load_tokenizer(self.tokenizer_file)
        if self.tokenizer_checksum() != self.config().get("tokenizer"):
            raise ValueError(f"{self.tokenizer_file}: damaged, or from another run: not the file that {self.config_file.name} describes")
        return tokenizer

    def tokenizer_checksum(self) -> int:
        """Of the tokenizer's file, whatever the ends of its lines."""
        return zlib.crc32(self.tokenizer_file.read_bytes().replace(b"\r\n", b"\n"))

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def save_last(self, model: Any, optimizers: list[Any], progress: dict[str, Any]) -> None:
        """Everything that the run needs to continue."""
        state: dict[str, Any] = {f"model.{name}": a for name, a in model.state_dict().items()}
        for i, optimizer in enumerate(optimizers):
            state.update({f"optimizer.{i}.{name}": a for name, a in optimizer.state_dict().items()})
        save({**state, "progress": json.dumps(progress)}, self.last_file)

    def load_last(self) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]], dict[str, Any]]:
        """The state of the model, of the optimizers, and the progress."""
        for kind in {"compressed", "adapted"} & set(self.config()):
            raise ValueError(f"{self.path}: holds {kind} weights, which cannot be trained on; resume the run that they were made from")
        if not self.last_file.exists():
            raise FileNotFoundError(f"{self.last_file}: missing; the run stopped before its first checkpoint: delete {self.path} and start anew")
        state = load(self.last_file)
        try:
            progress = json.loads(str(state.pop("progress")))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.last_file}: not a checkpoint of a run (it lacks 'progress')") from error
        model = {n.removeprefix("model."): a for n, a in state.items() if n.startswith("model.")}
        optimizers: list[dict[str, np.ndarray]] = []
        for name, array in state.items():
            if match := re.fullmatch(r"optimizer\.(\d+)\.(.+)", name):
                while len(optimizers) <= int(match[1]):
                    optimizers.append({})
                optimizers[int(match[1])][match[2]] = array
        return model, optimizers, progress

    def load_model(self) -> tuple[Any, Any, dict[str, Any]]:
        """The trained model in eval mode, its tokenizer (None where it needs none) and the settings; from the best checkpoint if there is one."""
        config = self.config()
        tokenizer = None if config.get("tokenizer") is None else self.tokenizer()
        model = build_model(config, self.config_file)
        if self.best_file.exists():
            source, state = self.best_file, load(self.best_file)
        elif "compressed" in config:
            raise FileNotFoundError(f"{self.best_file}: missing; it holds the compressed weights: make them anew with python -m transformer compress")
        else:
            source, state = self.last_file, self.load_last()[0]
        try:
            model.load_state_dict(unpack(state, config.get("compressed", {})))
        except ValueError as error:
            raise ValueError(f"{source}: does not fit {self.config_file.name}: {error}") from error
        if tokenizer is not None and tokenizer.vocab_size != model.vocab_size:
            raise ValueError(f"{self.tokenizer_file}: has {tokenizer.vocab_size} tokens, the model {model.vocab_size}; they do not belong together")
        return model.eval(), tokenizer, config

    # Logs -------------------------------------------------------------------------------------------------------------

    def append_log(self, rows: list[list[Any]]) -> bytes:
        """Add rows, numbers in full precision, and see them on the disk; gives what was written."""
        lines = _log_bytes([["" if v is None else repr(v) if isinstance(v, float) else str(v) for v in row] for row in rows])
        with self.log_file.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        return lines

    def rewrite_log(self, rows: list[list[str]]) -> None:
        """Replace the log by these rows."""
        write_atomically(self.log_file, lambda file: file.write(_log_bytes([LOG_COLUMNS, *rows])))

    def read_log(self) -> list[list[str]]:
        """The rows of the log, as text; a line cut short by a crash is left out."""
        try:
            with self.log_file.open(encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{self.log_file}: not readable: {error}") from error
        if not rows or rows[0] != LOG_COLUMNS:
            raise ValueError(f"{self.log_file}: not the log of a run; expected the columns {', '.join(LOG_COLUMNS)}")
        return [row for row in rows[1:] if len(row) == len(LOG_COLUMNS) and row[0].isdigit()]

    def cut_back(self, step: int, checksum: int) -> None:
        """Drop what log and samples say of the steps after ``step``, which will be made again, and what a crash left lying about.

        Raises ValueError, before anything is changed, when they are not those of the checkpoint (``checksum`` of the log's rows).
        """
        rows = self.read_log()
        kept = [row for row in rows if int(row[0]) <= step]
        if len(kept) != step:
            raise ValueError(f"{self.log_file}: holds {len(kept)} of the {step} steps that {self.last_file.name} has seen; it was changed or lost")
        if zlib.crc32(_log_bytes(kept)) != checksum:
            raise ValueError(f"{self.log_file}: damaged or edited: the first {step} steps are not those that {self.last_file.name} has seen")
        text = self.samples_file.read_text(encoding="utf-8", errors="replace") if self.samples_file.exists() else ""
        if text and not "=== step ".startswith(text[:9]):
            raise ValueError(f"{self.samples_file}: not the samples of a run; expected it to begin with '=== step'; move it away")
        self.sweep()
        self.rewrite_log(kept)
        if text:
            blocks = re.split(r"(?m)^(?==== step \d+ ===$)", text)
            good = "".join(b for b in blocks if (m := re.match(r"=== step (\d+) ===\n", b)) and int(m[1]) <= step)
            write_atomically(self.samples_file, lambda file: file.write(good.encode("utf-8")))


    def sweep(self) -> None:
        """Remove the temporary files of writes that a crash cut short."""
        for file in (self.config_file, self.tokenizer_file, self.last_file, self.best_file, self.log_file, self.samples_file):
            for leftover in self.path.glob(f".{file.name}.*.tmp"):
                leftover.unlink(missing_ok=True)


def _checksum(config: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(config, sort_keys=True).encode())


def _log_bytes(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8")


def build_model(config: dict[str, Any], where: Any = "config") -> Any:
    """The model that a configuration describes, a GPT unless its "kind" says otherwise; ValueError when it describes none."""
    try:
        model = MODELS[config.get("kind", "GPT")](**config["model"])
        return share_layers(model, config["distinct_layers"]) if "distinct_layers" in config else model
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: does not describe a model: {error}") from error
