"""State dicts on disk: every damage is named, nothing is run, and a file is replaced whole or not at all."""

import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, load, nn, save, storage

STATE = {
    "block.0.weight": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), "steps": 7, "scalar": np.float64(0.1), "name": "Größe",
    "ids": np.arange(5), "mask": np.array([True, False]), "empty": np.zeros((0, 3)), "tensor": Tensor([1.0, 2.0]), "a/b c": np.ones(1, np.float16),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    save(STATE, tmp_path / "state.npz")
    return tmp_path / "state.npz"


def test_round_trip_keeps_names_values_shapes_and_precision(path):
    got = load(path)
    assert list(got) == list(STATE)
    for name, value in STATE.items():
        expected = np.asarray(value.data if isinstance(value, Tensor) else value)
        np.testing.assert_array_equal(got[name], expected)
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype)
    assert str(got["name"]) == "Größe"


def test_the_path_is_taken_as_it_is_given(tmp_path):
    save({"x": np.ones(2)}, str(tmp_path / "no_suffix"))
    assert os.listdir(tmp_path) == ["no_suffix"]
    assert load(str(tmp_path / "no_suffix"))["x"].tolist() == [1, 1]


def test_an_empty_state_and_a_module_round_trip(tmp_path):
    save({}, tmp_path / "e")
    assert load(tmp_path / "e") == {}
    model = nn.Sequential(nn.Linear(2, 3), mg.relu, nn.Linear(3, 1))
    save(model.state_dict(), tmp_path / "m")
    twin = nn.Sequential(nn.Linear(2, 3), mg.relu, nn.Linear(3, 1)).load_state_dict(load(tmp_path / "m"))
    x = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(model(x).data, twin(x).data)


@pytest.mark.parametrize("value", [{"a": 1}, None, object(), [object()], 1j, np.array([None]), b"bytes"])
def test_what_is_no_array_is_refused_before_anything_is_written(path, value):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="save: entry 'bad' is a"):
        save({"good": np.ones(2), "bad": value}, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def damaged(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_an_empty_file_is_named(path):
    assert "is empty" in damaged(path, b"")


def test_a_file_truncated_anywhere_is_named(path):
    whole = path.read_bytes()
    for n in [*range(1, len(whole), 37), len(whole) - 1]:
        damaged(path, whole[:n])


def test_a_flipped_bit_anywhere_is_named_or_harmless(path):
    """Every 11th byte, one bit: an error that names the file, or (in the zip's unused fields) the very same state."""
    whole = path.read_bytes()
    reference = load(path)
    found = 0
    for n in range(0, len(whole), 11):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ (1 << n % 8)]) + whole[n + 1 :])
        try:
            got = load(path)
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            found += 1
        else:
            assert list(got) == list(reference)
            for name in got:
                np.testing.assert_array_equal(got[name], reference[name])
    assert found > len(range(0, len(whole), 11)) * 0.6


def foreign_npz(path, **arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path.read_bytes()


def test_foreign_files_are_named(path):
    damaged(path, b"hello world, this is text")
    damaged(path, b"\x89PNG\r\n\x1a\n" + bytes(100))
    damaged(path, pickle.dumps({"x": 1}))
    damaged(path, bytes(1000))
    damaged(path, b"PK\x03\x04" + bytes(50))
    np.save(path.with_suffix(".npy"), np.ones(3))
    assert "was not written by minigrad.save" in damaged(path, path.with_suffix(".npy").read_bytes())
    assert "was not written by minigrad.save" in damaged(path, foreign_npz(path, x=np.ones(3)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "not arrays")
    damaged(path, path.read_bytes())
    for sums in ("not json", "[]", "7", "null", '{"x": 1}', '{"x": "a"}', "{}"):
        damaged(path, foreign_npz(path, __checksums__=np.array(sums), x=np.ones(3)))


def test_an_entry_that_was_exchanged_or_removed_is_named(path):
    with np.load(path) as file:
        entries = {name: file[name] for name in file.files}
    entries["ids"] = entries["ids"][::-1]
    assert "checksum of 'ids'" in damaged(path, foreign_npz(path, **entries))
    del entries["ids"]
    assert "'ids'" in damaged(path, foreign_npz(path, **entries))


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_nothing_is_ever_unpickled(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damaged(path, foreign_npz(path, __checksums__=np.array('{"x": 0}'), x=np.array([Bomb()], dtype=object)))
    damaged(path, pickle.dumps(Bomb()))
    assert not os.path.exists("exploded")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz: no such file"):
        load(tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        save({}, tmp_path / "no" / "such" / "folder")


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_litter(path):
    before = path.read_bytes()

    def fails(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        storage.write_atomically(path, fails)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_saving_over_a_file_never_shows_a_half_written_one(path, monkeypatch):
    """The replacement is complete and on disk before it gets the name."""
    events = []
    fsync, replace = os.fsync, os.replace

    def noted_replace(a, b):
        events.append("replace")
        assert load(a)["x"].tolist() == [2]  # what is moved into place is whole
        assert load(b)["steps"] == 7  # and until then the old state is there
        replace(a, b)

    monkeypatch.setattr(storage.os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(storage.os, "replace", noted_replace)
    save({"x": np.array([2])}, path)
    assert events[:2] == ["fsync", "replace"]
    assert load(path)["x"].tolist() == [2]


def test_the_reserved_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reserved"):
        save({"__checksums__": np.ones(1)}, tmp_path / "x")


# Verified before it is parsed ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_flipped_bit_of_every_header_is_named_or_harmless(path):
    """The zip's directories and the headers of the arrays: nothing is read as anything but what was written."""
    whole, reference = path.read_bytes(), load(path)
    with zipfile.ZipFile(path) as archive:
        starts = [entry.header_offset for entry in archive.infolist()] + [archive.start_dir]
    places = sorted({at for start in starts for at in range(start, min(start + 220, len(whole)))} | set(range(starts[-1], len(whole))))
    for at in places:
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                got = load(path)
            except ValueError as error:
                assert str(error).startswith(str(path)) and len(str(error)) < 600
            else:
                assert list(got) == list(reference) and all(got[n].tobytes() == reference[n].tobytes() for n in got)


def entry_with(header: bytes, data: bytes = b"") -> bytes:
    """A file whose only array has this header, every checksum right."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in (("__checksums__.npy", None), ("x.npy", header)):
            if raw is None:
                inner = io.BytesIO()
                np.lib.format.write_array(inner, np.array('{"x": 0}'), version=(1, 0))
                archive.writestr(name, inner.getvalue())
            else:
                archive.writestr(name, b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + data)
    return out.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999999,), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 9999999999, 0), }\n",
        b"{'descr': '<U999999999', 'fortran_order': False, 'shape': (), }\n",
        b"{'descr': '<U0', 'fortran_order': False, 'shape': (99999999,), }\n",
        b"{'descr': '<f7', 'fortran_order': False, 'shape': (), }\n",
        b"{'descr': '|O8', 'fortran_order': False, 'shape': (1,), }\n",
        b"{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (((((((((((((((((((((1,), }\n",
        b"(" * 5000 + b"\n",
        b"",
    ],
)
def test_a_header_that_declares_what_is_not_there_takes_no_memory_and_no_parser(header, path):
    path.write_bytes(entry_with(header))
    tracemalloc.start()
    message = damaged(path, path.read_bytes())
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert "minigrad.save" in message or "declares" in message or "unknown type" in message or "damaged" in message


def test_a_bomb_is_refused_before_it_is_unpacked(path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__checksums__.npy", bytes(1 << 27))
    assert len(out.getvalue()) < 1 << 18
    path.write_bytes(out.getvalue())
    tracemalloc.start()
    message = damaged(path, path.read_bytes())
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert "is compressed" in message


NAMES = ["file", "allow_pickle", "args", "kwds", "a", "a.npy", "a.npy.npy", "../up", "/etc/passwd", "C:\\x"]
NAMES += ["a/b", "a\\b", "é", "\n", " ", "", ".npy", "CON"]


def test_any_name_comes_back(tmp_path):
    state = {name: np.full(2, i) for i, name in enumerate(NAMES)}
    save(state, tmp_path / "s")
    assert {name: array.tolist() for name, array in load(tmp_path / "s").items()} == {name: array.tolist() for name, array in state.items()}
    assert os.listdir(tmp_path) == ["s"]


@pytest.mark.parametrize("name", ["a\0b", "x" * 70_000, "\ud800"])
def test_a_name_that_no_file_can_hold_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(ValueError, match="choose another"):
        save({name: np.ones(1)}, tmp_path / "s")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|b1", "|i1", "<u2", ">i8", "<U3"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_every_type_and_order_comes_back(dtype, shape, tmp_path):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    save({"c": array, "f": np.asfortranarray(array) if shape else array}, tmp_path / "s")
    for found in load(tmp_path / "s").values():
        assert found.dtype == array.dtype and found.shape == array.shape and (found == array).all() and found.flags.writeable


def test_the_same_state_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        save(STATE, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_written_is_named_with_what_became_of_it(path):
    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"not written: No space left on device; what it held before is untouched: '.*state\.npz'") as caught:
        storage.write_atomically(path, fails)
    assert caught.value.errno == 28 and caught.value.filename == str(path)
    with pytest.raises(OSError, match="no part of it is left behind"):
        storage.write_atomically(path.with_name("new"), fails)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("names", [("file",), ("allow_pickle",), ("a", "a.npy"), ("__metadata__", "")], ids=str)
def test_any_name_can_be_saved_and_read_back(names, tmp_path):
    state = {name: np.arange(3.0) + i for i, name in enumerate(names)}
    save(state, tmp_path / "state")
    found = load(tmp_path / "state")
    assert list(found) == list(state)
    for name in state:
        np.testing.assert_array_equal(found[name], state[name])
