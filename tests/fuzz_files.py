"""Mutated files for every reader: whatever is in a file, a reader gives what the whole file gives, or one ValueError that names it.

    python -m tests.fuzz_files [--per-reader N] [--every N] [--seed S] [--only WORD] [--keep DIR]

For each reader one good file (or folder with one file that is mutated), and then: every bit of its first and last bytes flipped, truncations,
sizes replaced by huge ones, deep and odd JSON, duplicate names, and random mixtures.  Files with checksums are mutated twice, as they are and
with the checksums made right again, so that what lies behind them is tried as well.  Time and memory of each try are bounded.  A small slice
runs in the test suite (tests/test_fuzz.py).
"""

from __future__ import annotations

import argparse
import bz2
import collections
import gzip
import io
import json
import random
import re
import shutil
import struct
import sys
import tempfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import load, save, storage
from transformer import GPT, BPETokenizer, CharTokenizer, GPT2Tokenizer, WordPieceTokenizer
from transformer.cli.generate import read_prompts
from transformer.compression.adapters import add_adapters, load_adapters, save_adapters
from transformer.compression.packing import pack_run
from transformer.data import real
from transformer.data.corpora import read_text
from transformer.data.tokenizers import _document, load_tokenizer
from transformer.data.wordpiece import SPECIAL
from transformer.training.checkpoints import RunFolder, _checksum
from transformer.training.loop import Trainer
from transformer.training.objectives import LanguageModelling
from transformer.training.settings import Settings

SECONDS, MEGABYTES = 5.0, 64.0  # that one try may take; the good files have a few kilobytes
TEXT = "the cat sat on the mat; the dog saw the cat. " * 30
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 1.5, -0.0, 1e308, 10**6, 10**9, 2**31, 2**63, 10**30, 10**400, "", "x", "\0", "../../x", "é", "\ud800", "1e9",
    [], [[]], {}, {"a": 1}, [1, 2], ["a", "b"], [None], {"": {}}, "GPT", "llama3", "x" * 10_000,
]  # fmt: skip


class Reader(NamedTuple):
    """What is read: ``make`` fills a folder and names the file to mutate, ``read`` reads it, ``mend`` makes the checksums right again."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    mend: Callable[[bytes, Path], bytes] | None = None
    verified: bool = False  # whether checksums tell any change of what is read


def same(a: Any, b: Any) -> bool:
    """Whether two readings are equal."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# The readers -------------------------------------------------------------------------------------------------------------


def tiny(**options: Any) -> GPT:
    """A GPT of a few hundred numbers."""
    mg.manual_seed(0)
    return GPT(
        **{"vocab_size": 20, "embedding_dim": 4, "num_heads": 2, "num_layers": 1, "context_length": 8, **options}
    )


def state_file(folder: Path) -> Path:
    """What minigrad.save writes."""
    save(
        {"w": np.arange(6.0).reshape(2, 3), "name": "Größe", "step": 3, "e": np.zeros((0, 2), np.float32)},
        folder / "state.npz",
    )
    return folder / "state.npz"


def run_folder(folder: Path) -> RunFolder:
    """A run of two steps on a text."""
    run = RunFolder(folder / "run")
    tokenizer = CharTokenizer.train(TEXT)
    ids = tokenizer.encode(TEXT)
    sizes = {
        "vocab_size": tokenizer.vocab_size,
        "embedding_dim": 4,
        "num_heads": 2,
        "num_layers": 1,
        "context_length": 8,
    }
    settings = Settings(steps=2, batch_size=2, evaluate_every=1, evaluation_tokens=20, sample_tokens=2)
    mg.manual_seed(0)
    trainer = Trainer(GPT(**sizes), LanguageModelling(ids[:900], ids[900:], 8, tokenizer), settings, run, io.StringIO())
    run.create({"kind": "GPT", "model": sizes, "training": vars(settings), "text": None, "task": None}, tokenizer)
    trainer.train()
    return run


def weights_of(path: Path) -> Any:
    """A run's model and tokenizer, as they are used."""
    model, tokenizer, config = RunFolder(path.parent).load_model()
    return model.state_dict(), tokenizer.to_dict(), config


def continuation_of(path: Path) -> Any:
    """What resuming reads."""
    folder = RunFolder(path.parent)
    model, optimizers, progress = folder.load_last()
    tokenizer = folder.tokenizer()
    ids = tokenizer.encode(TEXT)
    net = folder.load_model()[0]
    trainer = Trainer(
        net,
        LanguageModelling(ids[:900], ids[900:], 8, tokenizer),
        Settings(steps=2, batch_size=2),
        folder,
        io.StringIO(),
    )
    trainer.resume()
    folder.lock.give_back()
    return model, optimizers, progress, net.state_dict()


def in_run(name: str) -> Callable[[Path], Path]:
    """A file of a run folder."""
    return lambda folder: run_folder(folder).path / name


def mend_config(content: bytes, path: Path) -> bytes:
    """config.json with a right checksum."""
    try:
        config = json.loads(content)
        config.pop("checksum", None)
        return json.dumps({**config, "checksum": _checksum(config)}).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return content


def mend_tokenizer(content: bytes, path: Path) -> bytes:
    """A tokenizer's file with a right checksum."""
    try:
        return _document(json.loads(content)["tokenizer"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return content


def mend_npz(content: bytes, path: Path) -> bytes:
    """An .npz with right checksums of its entries, where it can still be opened."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            raw = {}
            for entry in archive.infolist():
                start = (
                    entry.header_offset
                    + 30
                    + len(entry.filename)
                    + struct.unpack_from("<H", content, entry.header_offset + 28)[0]
                )
                raw[entry.filename] = content[start : start + min(entry.compress_size, len(content))]
        arrays = {}
        for name, data in raw.items():
            with np.errstate(all="ignore"):
                arrays[name.removesuffix(".npy")] = storage._array(name, data)
        arrays.pop(storage.CHECKSUMS, None)
        out = io.BytesIO()
        sums = json.dumps({name: storage._checksum(name, array) for name, array in arrays.items()})
        storage._write(out, {storage.CHECKSUMS: np.array(sums), **arrays})
        return out.getvalue()
    except Exception:
        return mend_zip(content)


def mend_zip(content: bytes) -> bytes:
    """The same bytes in a zip whose own checksums are right: what its entries say is wrong all the same."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for entry in entries:
                start = (
                    entry.header_offset
                    + 30
                    + len(entry.filename)
                    + struct.unpack_from("<H", content, entry.header_offset + 28)[0]
                )
                archive.writestr(entry.filename, content[start : start + min(entry.compress_size, len(content))])
        return out.getvalue()
    except Exception:
        return content


def packed(folder: Path) -> Path:
    """A run in eight bits."""
    out = RunFolder(folder / "small")
    pack_run(run_folder(folder), out, "int8")
    return out.best_file


def adapters(folder: Path) -> Path:
    """The adapters of a tiny model."""
    model = tiny()
    add_adapters(model, 1)
    save_adapters(model, folder / "adapter.npz")
    return folder / "adapter.npz"


def adapted(path: Path) -> Any:
    """The parameters of the adapters."""
    return [p.data for p in load_adapters(tiny(), path)]


def checkpoint(kind: str, name: str) -> Callable[[Path], Path]:
    """A checkpoint folder in a format of the transformers library, and a file in it."""

    def make(folder: Path) -> Path:
        from transformer import BERT
        from transformer.layers import RMSNorm
        from transformer.positions import RotaryPositions, StretchedRotation
        from transformer.pretrained import save_pretrained

        mg.manual_seed(0)
        tokenizer: Any = GPT2Tokenizer.train(TEXT, 260)
        if kind == "bert":
            tokenizer = WordPieceTokenizer([*SPECIAL, *sorted(set(TEXT)), "##a", "cat"], max_length=8)
            model: Any = BERT(tokenizer.vocab_size, 4, 2, 1, max_length=8)
        elif kind == "llama":
            rotary = RotaryPositions(2, stretch=StretchedRotation(8.0, 1.0, 4.0, 8))
            model = tiny(vocab_size=tokenizer.vocab_size, norm=RMSNorm, positions=rotary, ffn="swiglu", bias=False)
        else:
            model = tiny(vocab_size=tokenizer.vocab_size)
            tokenizer = {"char": CharTokenizer.train(TEXT), "bpe": BPETokenizer.train(TEXT, 258)}.get(kind, tokenizer)
        save_pretrained(model, folder / "model", tokenizer)
        if kind == "bert":
            path = folder / "model"
            (path / "modules.json").write_text(
                '[{"type": "a.Transformer"}, {"type": "a.Pooling"}, {"type": "a.Normalize"}]'
            )
            (path / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": false}')
            (path / "1_Pooling").mkdir()
            (path / "1_Pooling" / "config.json").write_text(
                '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}'
            )
        if name.endswith("index.json"):
            (folder / "model" / "model.safetensors").rename(folder / "model" / "a.safetensors")
            from transformer.pretrained import read_safetensors

            names = read_safetensors(folder / "model" / "a.safetensors")
            (folder / "model" / name).write_text(json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")}))
        return folder / "model" / name

    return make


def pretrained(path: Path) -> Any:
    """Model and tokenizer."""
    from transformer.pretrained import load_pretrained, read_tokenizer

    return load_pretrained(path.parent).state_dict(), read_tokenizer(path.parent).to_dict()


def sentences(path: Path) -> Any:
    """A sentence encoder at work."""
    from transformer.pretrained import load_sentence_encoder

    folder = path.parent.parent if path.parent.name == "1_Pooling" else path.parent
    encoder = load_sentence_encoder(folder)
    return encoder.pooling, encoder.normalise, encoder.tokenizer.to_dict()


def catalogue(folder: Path) -> Path:
    """A .mo file, in a package as ``real.strings`` reads it."""
    pairs = {
        "": "Content-Type: text/plain; charset=UTF-8\n",
        "Open": "Ouvrir",
        "menu\x04Close": "Fermer",
        "Save": "Enregistrer",
    }
    keys = sorted(pairs)
    ids = [(key.encode(), pairs[key].encode()) for key in keys]
    offset, table, text = 28 + 16 * len(ids), [], b""
    for column in (0, 1):
        for pair in ids:
            table.append(struct.pack("<II", len(pair[column]), offset + len(text)))
            text += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(ids), 28, 28 + 8 * len(ids), 0, 0)
    path = folder / "locale" / "fr_FR" / "LC_MESSAGES" / "a.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(head + b"".join(table) + text)
    return path


def data_package(read: Callable[[], Any], levels: int) -> Callable[[Path], Any]:
    """Read as if the folder, so many levels above the file, were the package."""

    def inner(path: Path) -> Any:
        before = real.package_folder
        real.package_folder = lambda module, missing: path.parents[levels]  # type: ignore[assignment]
        try:
            found = read()
            return list(found.pairs) if hasattr(found, "pairs") else list(found)
        finally:
            real.package_folder = before

    return inner


def digit_rows(folder: Path) -> Path:
    """Pictures of digits, gzipped."""
    path = folder / "datasets" / "data" / "digits.csv.gz"
    path.parent.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, 10, (20, 65))
    path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode(), mtime=0))
    return path


def review_rows(folder: Path) -> Path:
    """Reviews, in bzip2."""
    path = folder / "data" / "rotten_tomatoes_corpus_full.csv.bz2"
    path.parent.mkdir(parents=True)
    path.write_bytes(bz2.compress(b"category,text,movie_name\nfresh,good,a\nrotten,bad,b\nplot,x,c\n"))
    return path


def written(text: str, name: str) -> Callable[[Path], Path]:
    """A text file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(text.encode())
        return folder / name

    return make


def tokenizer_file(make: Callable[[], Any]) -> Callable[[Path], Path]:
    """A tokenizer of ours on disk."""

    def write(folder: Path) -> Path:
        make().save(folder / "tokenizer.json")
        return folder / "tokenizer.json"

    return write


def tokens(path: Path) -> Any:
    """A tokenizer of ours."""
    return load_tokenizer(path).to_dict()


def readers() -> list[Reader]:
    """All of them; those of the extra "pretrained" where it is installed."""
    found = [
        Reader("state dict", state_file, load, mend_npz, True),
        Reader("run: best.npz", in_run("best.npz"), weights_of, mend_npz, True),
        Reader("run: last.npz", in_run("last.npz"), continuation_of, mend_npz, True),
        Reader("run: config.json", in_run("config.json"), weights_of, mend_config, True),
        Reader("run: tokenizer.json", in_run("tokenizer.json"), weights_of, mend_tokenizer, True),
        Reader("run: log.csv", in_run("log.csv"), continuation_of, None, True),
        Reader("compressed run", packed, weights_of, mend_npz, True),
        Reader("adapters", adapters, adapted, mend_npz, True),
        Reader("char tokenizer", tokenizer_file(lambda: CharTokenizer.train(TEXT)), tokens, mend_tokenizer, True),
        Reader("BPE tokenizer", tokenizer_file(lambda: BPETokenizer.train(TEXT, 262)), tokens, mend_tokenizer, True),
        Reader(
            "byte-level tokenizer", tokenizer_file(lambda: GPT2Tokenizer.train(TEXT, 260)), tokens, mend_tokenizer, True
        ),
        Reader(
            "WordPiece tokenizer",
            tokenizer_file(lambda: WordPieceTokenizer([*SPECIAL, "a", "##b"])),
            tokens,
            mend_tokenizer,
            True,
        ),
        Reader("text", written(TEXT, "text.txt"), read_text),
        Reader("prompts", written("one\ntwo\n", "prompts.txt"), read_prompts),
        Reader("strings (.mo)", catalogue, data_package(real.strings, 3)),
        Reader("digits (.csv.gz)", digit_rows, data_package(real.digits, 2)),
        Reader("reviews (.csv.bz2)", review_rows, data_package(real.reviews, 1)),
    ]
    try:
        import safetensors  # noqa: F401
    except ImportError:
        return found
    for kind in ("gpt2", "llama", "bert"):
        found += [
            Reader(f"{kind}: {name}", checkpoint(kind, name), pretrained)
            for name in ("config.json", "model.safetensors")
        ]
    found += [
        Reader(f"gpt2: {name}", checkpoint("gpt2", name), pretrained)
        for name in ("vocab.json", "merges.txt", "model.safetensors.index.json")
    ]
    found += [
        Reader(f"{kind}: tokenizer.json", checkpoint(kind, "tokenizer.json"), pretrained) for kind in ("char", "bpe")
    ]
    more = ("vocab.txt", "tokenizer_config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
    return found + [Reader(f"bert: {name}", checkpoint("bert", name), sentences) for name in more]


# The mutations -----------------------------------------------------------------------------------------------------------


def systematic(whole: bytes) -> Iterator[bytes]:
    """Every bit of the first and last bytes, truncations, what is no such file at all."""
    edge = 160
    for at in [*range(min(edge, len(whole))), *range(max(edge, len(whole) - edge), len(whole))]:
        for bit in range(8):
            yield whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    for stop in sorted({*range(0, len(whole), max(1, len(whole) // 60)), *range(max(0, len(whole) - 40), len(whole))}):
        yield whole[:stop]
    yield from (
        b"\xef\xbb\xbf" + whole,
        whole + b"\n",
        whole + b"\0",
        whole * 2,
        whole.replace(b"\n", b"\r\n"),
        whole[::-1],
    )
    yield from (
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 500 + b"]" * 500,
        b"\0" * 1000,
        b"\xff\xfe",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x05\x06" + bytes(18),
    )
    yield from (
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"NaN",
        b'{"a": NaN}',
        b"1" * 5000,
        b'{"a": 1, "a": 2}',
        b'{"\\ud800": "\\ud800"}',
    )
    yield from (zipped(1 << 26), gzip.compress(bytes(1 << 26)), bz2.compress(bytes(1 << 26)))


def zipped(size: int) -> bytes:
    """A bomb: zeros, a thousand times smaller when they are compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{storage.CHECKSUMS}.npy", b"\x93NUMPY\x01\x00" + bytes(size))
    return out.getvalue()


def places(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in JSON."""
    found: list[tuple[Any, Any]] = []
    keys: Any = (
        content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    )
    for key in list(keys)[:300]:
        found += [(content, key), *places(content[key])]
    return found


def json_mutation(whole: bytes, rng: random.Random) -> bytes | None:
    """An odd value, a name lost or changed, somewhere in JSON; None where there is no JSON."""
    try:
        content = json.loads(whole)
        spots = places(content)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not spots:
            return None
        container, key = rng.choice(spots)
        how = rng.random()
        if isinstance(container, dict) and how < 0.15:
            container.pop(key, None)
        elif isinstance(container, dict) and how < 0.25:
            container[rng.choice(["", "x", "\ud800", "__metadata__", "kind"])] = container.get(key)
        elif isinstance(container, list) and how < 0.25:
            container.append(rng.choice(ODD))
        elif isinstance(container, dict) or key < len(container):
            container[key] = rng.choice(ODD)
    text = json.dumps(content)
    if rng.random() < 0.1:
        text = re.sub(
            r": (-?\d+)",
            lambda m: ": " + rng.choice(["NaN", "Infinity", "-Infinity", "1e999", m[1]]),
            text,
            count=rng.randrange(1, 4),
        )
    return text.encode()


def binary_mutation(whole: bytes, rng: random.Random) -> bytes:
    """Bits, bytes, sizes, and pieces out of place."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, how = rng.randrange(len(data) or 1), rng.randrange(8)
        if not data:
            break
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif how == 2:
            size = rng.choice((1, 2, 4, 8))
            data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f"))[:1] * size
        elif how == 3:
            del data[at : at + rng.choice((1, 2, 8, 100))]
        elif how == 4:
            data[at:at] = bytes(rng.choices(range(256), k=rng.choice((1, 2, 8))))
        elif how == 5:
            other, size = rng.randrange(len(data)), rng.choice((1, 4, 32))
            data[at : at + size] = data[other : other + size]
        elif how == 6:
            digits = [m.span() for m in re.finditer(rb"\d+", bytes(data[:4000]))]
            if digits:
                start, stop = rng.choice(digits)
                data[start:stop] = rng.choice((b"0", b"-1", b"9" * 18, b"9" * 30, b"1e5", b"99999", b"1", b"2"))
        else:
            del data[at:]
    return bytes(data)


def header_mutation(whole: bytes, rng: random.Random) -> bytes | None:
    """A safetensors file with an odd header of the right length."""
    length = int.from_bytes(whole[:8], "little")
    if not 2 <= length <= len(whole) - 8:
        return None
    header = json_mutation(whole[8 : 8 + length], rng)
    return None if header is None else len(header).to_bytes(8, "little") + header + whole[8 + length :]


def mutations(whole: bytes, rng: random.Random) -> Iterator[bytes]:
    """The systematic ones, then random ones without end."""
    yield from systematic(whole)
    while True:
        how = rng.random()
        made = json_mutation(whole, rng) if how < 0.4 else header_mutation(whole, rng) if how < 0.6 else None
        yield binary_mutation(whole, rng) if made is None else made


# Trying ------------------------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """Something that a reader should not have done, and the file that made it."""

    reader: str
    what: str
    content: bytes


def attempt(reader: Reader, path: Path, content: bytes, whole: Any, watch_memory: bool) -> str:
    """What went wrong, or ""."""
    path.write_bytes(content)
    begun = time.process_time()
    if watch_memory:
        tracemalloc.start()
    try:
        found = reader.read(path)
        if reader.verified and whole is not None and not same(found, whole):
            return "a changed file was taken for another"
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        if len(text) > 2500:
            return f"a message of {len(text)} characters"
        if path.name not in text and str(path.parent) not in text and str(path.parent.parent) not in text:
            return f"the file is not named: {text[:200]}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        top = tracemalloc.get_traced_memory()[1] / 1e6 if watch_memory else 0.0
        if watch_memory:
            tracemalloc.stop()
    if time.process_time() - begun > SECONDS:
        return f"took {time.process_time() - begun:.1f} s"
    return f"took {top:.0f} MB" if top > MEGABYTES else ""


def fuzz(reader: Reader, count: int, seed: int = 0, every: int = 1) -> tuple[int, list[Finding]]:
    """Try ``count`` mutated files (each ``every``-th of the systematic ones first); returns how many, and what was found."""
    rng, tried, findings = random.Random(f"{seed} {reader.name}"), 0, []
    with tempfile.TemporaryDirectory() as name:
        path = reader.make(Path(name))
        whole = path.read_bytes()
        folder, good = path.parent, {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
        expected = reader.read(path)
        for number, content in enumerate(mutations(whole, rng)):
            if number % every and number < 3000:
                continue
            mended = reader.mend is not None and (number // every) % 2 == 1
            content = reader.mend(content, path) if mended and reader.mend else content
            what = attempt(reader, path, content, None if mended else expected, watch_memory=tried % 7 == 0)
            tried += 1
            if what:
                findings.append(Finding(reader.name, what, content))
            for file, data in good.items():  # what resuming may have cut back
                if file != path and (not file.exists() or file.read_bytes() != data):
                    file.write_bytes(data)
            if tried >= count:
                break
        shutil.rmtree(folder, ignore_errors=True)
    return tried, findings


def main() -> int:
    """The whole of it, with the time it takes, and each kind of finding once."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--per-reader", type=int, default=3000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--every", type=int, default=1, help="of the systematic mutations, only each N-th")
    options.add_argument("--only", default="", help="readers with this word in their name")
    options.add_argument("--keep", type=Path, help="a folder for the files that made a finding")
    args = options.parse_args()
    total, kinds = 0, collections.Counter[tuple[str, str]]()
    for reader in readers():
        if args.only not in reader.name:
            continue
        begun = time.monotonic()
        tried, findings = fuzz(reader, args.per_reader, args.seed, args.every)
        total += tried
        print(
            f"{reader.name:<32}{tried:>8} files {time.monotonic() - begun:>7.0f} s {len(findings):>5} findings",
            flush=True,
        )
        for finding in findings:
            kind = (finding.reader, re.sub(r"\d+|'[^']*'|/\S+", "#", finding.what))
            kinds[kind] += 1
            if kinds[kind] == 1:
                print(f"    {finding.what}", flush=True)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (
                        args.keep
                        / f"{re.sub(r'[^a-z]+', '-', finding.reader.lower())}{zlib.crc32(finding.what.encode()):08x}"
                    ).write_bytes(finding.content)
    print(f"{total:,} files, {sum(kinds.values())} findings of {len(kinds)} kinds")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
