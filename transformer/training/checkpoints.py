"""The run folder: what a training run leaves behind, written so that a crash at any moment leaves it usable.

``config.json`` and ``tokenizer.json`` are written once; ``last.npz`` (model, optimizer, randomness, progress) and ``best.npz`` (model)
are replaced whole; ``log.csv`` and ``samples.txt`` grow, and are cut back to the checkpoint on ``--resume``.  Both checkpoints carry the
identity of the run, a checksum of its configuration, so that none of another run takes their place; one process at a time may write.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import load, save
from minigrad.storage import write_atomically

from ..data.files import check_finite, parse_json, read_bytes
from ..data.tokenizers import Tokenizer, load_tokenizer
from ..models.build import build_model, outline
from .locking import FolderLock
from .log import LOG_COLUMNS, append, log_bytes, read_rows

FORMAT = "attention-by-hand run 2"
OLD_FORMAT = "attention-by-hand run 1"  # its checkpoints do not say of which run they are
RUN = "@run"  # in best.npz: the identity of the run, and the step at which it had these weights
PACKING = "transformer.compression.packing"  # an extra, imported when a run needs it


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
        self.files = (self.config_file, self.tokenizer_file, self.last_file, self.best_file, self.log_file, self.samples_file)
        self.lock = FolderLock(self.path)

    def create(self, config: dict[str, Any], tokenizer: Tokenizer | None) -> None:
        """Start a new run (images need no tokenizer); FileExistsError when the folder holds one already, or a file that would be lost.

        The folder is then locked for other processes until ``Trainer.train`` has ended.
        """
        with self.beginning(config, tokenizer):
            pass

    @contextlib.contextmanager
    def beginning(self, config: dict[str, Any], tokenizer: Tokenizer | None) -> Iterator[None]:
        """Start a new run; what an error within leaves behind is removed, so that the next try finds what this one found."""
        self.unused()
        parents = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        before: set[Path] | None = None  # what lay in the folder, once it is locked
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock.take()
            self.unused()  # another process may have begun since
            self.sweep()
            before = {*self.path.iterdir(), self.lock.path}
            if tokenizer is not None:
                tokenizer.save(self.tokenizer_file)
            config = {"format": FORMAT, **config, "tokenizer": None if tokenizer is None else self.tokenizer_checksum()}
            self.write_config(config)
            self.rewrite_log([])
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                for file in () if before is None else {*self.path.iterdir()} - before:
                    file.unlink()
            self.lock.give_back()
            with contextlib.suppress(OSError):
                for folder in parents:  # the inner ones first, as far as they are empty
                    folder.rmdir()
            raise

    def write_config(self, config: dict[str, Any]) -> None:
        """config.json, with its checksum."""
        text = json.dumps({**config, "checksum": _checksum(config)}, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self.config_file, lambda file: file.write(text.encode("utf-8")))

    def change_steps(self, steps: int) -> None:
        """Let the run end after another number of steps; all else stays, and with it the run's identity."""
        config = self.config()
        if config["training"]["steps"] != steps:
            self.write_config({**config, "training": {**config["training"], "steps": steps}})

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
        config = parse_json(read_bytes(self.config_file, 1 << 24), self.config_file)
        if not isinstance(config, dict) or config.get("format") not in (FORMAT, OLD_FORMAT):
            raise ValueError(f"{self.config_file}: not a configuration of this project (format {FORMAT!r} expected)")
        if config.pop("checksum", None) != _checksum(config):
            raise ValueError(f"{self.config_file}: damaged or edited: its checksum does not match; put the original back, or train anew")
        return config

    def check_trainable(self, config: dict[str, Any]) -> None:
        """ValueError for a folder whose weights ``compress`` or ``adapt`` has made."""
        for kind in {"compressed", "adapted"} & set(config):
            raise ValueError(f"{self.path}: holds {kind} weights, which cannot be trained on; resume the run that they were made from")

    def identity(self) -> int:
        """What tells this run from others: a checksum of its configuration, of all but the number of steps, which may grow."""
        config = self.config()
        training = config.get("training")
        return _checksum({**config, "training": {**training, "steps": None} if isinstance(training, dict) else training})

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

    def save_last(self, model: Any, optimizers: list[Any], progress: dict[str, Any]) -> None:
        """Everything that the run needs to continue."""
        state: dict[str, Any] = {f"model.{name}": a for name, a in model.state_dict().items()}
        for i, optimizer in enumerate(optimizers):
            state.update({f"optimizer.{i}.{name}": a for name, a in optimizer.state_dict().items()})
        save({**state, "progress": json.dumps({**progress, "run": self.identity()})}, self.last_file)

    def load_last(self) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]], dict[str, Any]]:
        """The state of the model, of the optimizers, and the progress."""
        config = self.config()
        self.check_trainable(config)
        if not self.last_file.exists():
            raise FileNotFoundError(f"{self.last_file}: missing; the run stopped before its first checkpoint: delete {self.path} and start anew")
        state = load(self.last_file)
        try:
            progress = json.loads(str(state.pop("progress")))
            if not isinstance(progress, dict):
                raise ValueError("'progress' is no object")
        except (KeyError, ValueError, RecursionError) as error:
            raise ValueError(f"{self.last_file}: not a checkpoint of a run (it lacks 'progress')") from error
        if config["format"] != OLD_FORMAT and progress.get("run") != self.identity():
            raise ValueError(f"{self.last_file}: is of another run than {self.config_file.name}; put the original back")
        model = {n.removeprefix("model."): a for n, a in state.items() if n.startswith("model.")}
        parts = [(int(match[1]), match[2], a) for n, a in state.items() if (match := re.fullmatch(r"optimizer\.(\d{1,2})\.(.+)", n))]
        count = max((i for i, _, _ in parts), default=-1) + 1
        return model, [{name: a for j, name, a in parts if j == i} for i in range(count)], progress

    def save_best(self, state: Mapping[str, Any], step: int = 0) -> int:
        """Write weights as those of this run at a step; returns their checksum."""
        save({**state, RUN: np.array([self.identity(), step])}, self.best_file)
        return checksum(state)

    def load_best(self) -> tuple[dict[str, np.ndarray], int]:
        """The weights of best.npz, and the step at which the run had them; ValueError when they are those of another run."""
        state = load(self.best_file)
        mark = state.pop(RUN, np.zeros(0))
        if mark.shape == (2,) and mark.dtype.kind in "iu" and int(mark[0]) == self.identity():
            return state, int(mark[1])
        if self.config()["format"] == OLD_FORMAT:
            return state, 0
        raise ValueError(f"{self.best_file}: holds the weights of another run than {self.config_file.name}; put the original back")

    def best_checksum(self, step: int, best_step: int, expected: Any) -> int:
        """The checksum of best.npz, which should be the ``expected`` one for a run that stands at ``step`` and was best at ``best_step``.

        A crash between the writing of best.npz and of last.npz leaves weights of a later step, which the resumed run will reach again.
        """
        if not best_step or not self.best_file.exists():
            return 0
        state, made = self.load_best()
        found = checksum(state)
        if self.config()["format"] != OLD_FORMAT and made <= step and (found, made) != (expected, best_step):
            raise ValueError(f"{self.best_file}: holds other weights than those of step {best_step}, which {self.last_file.name} tells of")
        return found

    def load_model(self) -> tuple[Any, Any, dict[str, Any]]:
        """The trained model in eval mode, its tokenizer (None where it needs none) and the settings; from the best checkpoint if there is one."""
        config = self.config()
        tokenizer = None if config.get("tokenizer") is None else self.tokenizer()
        if self.best_file.exists():
            source, state = self.best_file, self.load_best()[0]
        elif "compressed" in config or "adapted" in config:
            how = "compress" if "compressed" in config else "adapt"
            raise FileNotFoundError(f"{self.best_file}: missing; it holds the weights: make them anew with python -m transformer {how}")
        else:
            source, (state, _, progress) = self.last_file, self.load_last()
            if progress.get("best_step"):
                raise FileNotFoundError(f"{self.best_file}: missing; it holds the best weights of the run, those of step {progress['best_step']}")
        try:
            state = unpacked(state, config)
            check_finite(state)
            sizes, shared = config.get("model"), config.get("distinct_layers")
            layers = sizes.get("num_layers") if isinstance(sizes, dict) else None
            with outline(sizes, state, ("num_layers",), layers if shared and isinstance(layers, int) else 1):
                model = build_model(config, self.config_file)
            model.load_state_dict(state)
        except ValueError as error:
            known = any(str(file) in str(error) for file in (source, self.config_file))
            raise ValueError(str(error) if known else f"{source}: does not fit {self.config_file.name}: {error}") from error
        if tokenizer is not None and tokenizer.vocab_size != model.vocab_size:
            raise ValueError(f"{self.tokenizer_file}: has {tokenizer.vocab_size} tokens, the model {model.vocab_size}; they do not belong together")
        return model.eval(), tokenizer, config

    def append_log(self, rows: list[list[Any]]) -> bytes:
        """Add rows, numbers in full precision, and see them on the disk; returns what was written."""
        lines = log_bytes([["" if v is None else repr(v) if isinstance(v, float) else str(v) for v in row] for row in rows])
        append(self.log_file, lines)
        return lines

    def rewrite_log(self, rows: list[list[str]]) -> None:
        write_atomically(self.log_file, lambda file: file.write(log_bytes([LOG_COLUMNS, *rows])))

    def read_log(self) -> list[list[str]]:
        """The rows of the log, as text; a line cut short by a crash is left out."""
        return read_rows(self.log_file)

    def cut_back(self, step: int, checksum: int) -> None:
        """Drop what log and samples say of the steps after ``step``, which will be made again, and what a crash left lying about.

        Raises ValueError, before anything is changed, when they are not those of the checkpoint (``checksum`` of the log's rows).
        """
        rows = self.read_log()
        kept = [row for row in rows if int(row[0]) <= step]
        if len(kept) != step:
            raise ValueError(f"{self.log_file}: holds {len(kept)} of the {step} steps that {self.last_file.name} has seen; it was changed or lost")
        if zlib.crc32(log_bytes(kept)) != checksum:
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
        for file in self.files:
            for leftover in self.path.glob(f".{file.name}.*.tmp"):
                leftover.unlink(missing_ok=True)


def unpacked(state: dict[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays as floats: as they are, or, where a run's weights were stored in fewer bits, by the extra that knows how."""
    compressed = config.get("compressed", {})
    if not isinstance(compressed, dict):
        raise ValueError(f"'compressed' is {compressed!r:.80}")
    if not compressed and not any(name.startswith("@") for name in state):
        return state
    return importlib.import_module(PACKING).unpack(state, compressed)


def checksum(state: Mapping[str, Any]) -> int:
    """Of all arrays of a state dict, in the order of their names."""
    crc = 0
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        crc = zlib.crc32(array.tobytes(), zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc))
    return crc


def _checksum(config: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(config, sort_keys=True).encode())
