"""Files of others: sizes, types and depth are checked before anything is built from them, and whatever is wrong is a ValueError with the name."""

import json
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from tests.fuzz_files import TEXT, checkpoint, run_folder
from transformer import GPT, GPT2Tokenizer, WordPieceTokenizer
from transformer.data.files import DEEPEST, parse_json, read_bytes
from transformer.models.build import outline
from transformer.training.checkpoints import RunFolder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    return checkpoint("llama", "config.json")(tmp_path).parent


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    return checkpoint("gpt2", "config.json")(tmp_path).parent


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    return checkpoint("bert", "config.json")(tmp_path).parent


def changed(path: Path, **values: object) -> None:
    """A JSON file with other entries."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def refused(folder: Path, *words: str) -> None:
    """Quickly, in little memory, with the folder's name and these words, in one line of bounded length."""
    from transformer.pretrained import load_pretrained

    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(ValueError) as caught:
        load_pretrained(folder)
    assert tracemalloc.get_traced_memory()[1] < 30e6 and time.process_time() - begun < 5
    tracemalloc.stop()
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and len(message) < 1200
    for word in words:
        assert word in message, message


# JSON ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "depth"), ("[" * 200 + "]" * 200, "deep within each other"), ('{"a": ' * 200 + "1" + "}" * 200, "deep within each other"),
        ('{"a": 1, "a": 2}', "'a' is given twice"), ('{"a": NaN}', "NaN is no number"), ("[-Infinity]", "-Infinity is no number"),
        ("{", "Expecting"), ("", "Expecting"), ("1" * 5000, "digits"), ('{"' + "x" * 100_000 + '": 1, "' + "x" * 100_000 + '": 2}', "given twice"),
    ],
)  # fmt: skip
def test_json_that_is_none_or_goes_too_deep_is_refused_in_a_short_line(text, words):
    with pytest.raises(ValueError) as caught:
        parse_json(text.encode(), "x.json")
    assert (
        str(caught.value).startswith("x.json: not readable as JSON")
        and words in str(caught.value)
        and len(str(caught.value)) < 400
    )


def test_json_as_deep_as_is_allowed_and_with_a_byte_order_mark_is_read():
    assert parse_json(b"\xef\xbb\xbf" + b"[" * DEEPEST + b"]" * DEEPEST, "x")
    with pytest.raises(ValueError, match="deep within"):
        parse_json(b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "x")


def test_only_ordinary_files_of_a_bounded_size_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        read_bytes(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is a folder"):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(b"12345")
    with pytest.raises(ValueError, match="has 5 bytes; expected at most 4"):
        read_bytes(tmp_path / "large", 4)
    if Path("/dev/zero").exists():
        with pytest.raises(ValueError, match="no ordinary file"):
            read_bytes("/dev/zero")


# Checkpoints of others ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n_layer": 1_000_000}, ["n_layer is 1000000", "arrays"]),
        ({"n_embd": 1 << 20, "n_head": 1}, ["far more than the file of weights holds"]),
        ({"n_embd": 1 << 40}, ["n_embd is 1099511627776"]),
        ({"n_layer": 10**400}, ["n_layer is 1000"]),
        ({"vocab_size": "260"}, ["vocab_size is '260'", "int"]),
        ({"vocab_size": True}, ["vocab_size is True"]),
        ({"n_head": 0}, ["num_heads=0"]),
        ({"layer_norm_epsilon": -1}, ["layer_norm_epsilon is -1"]),
        ({"layer_norm_epsilon": 2.0}, ["eps=2.0"]),
        ({"resid_pdrop": 1.5}, ["p=1.5"]),
        ({"activation_function": ["gelu"]}, ["activation_function is ['gelu']"]),
        ({"model_type": {"a": 1}}, ["model_type {'a': 1}"]),
        ({"x" * 100_000: 1, "n_layer": "x" * 100_000}, ["n_layer is 'xxx"]),
    ],
)
def test_a_configuration_of_gpt2_that_cannot_be_is_refused_before_anything_is_built(values, words, gpt2):
    changed(gpt2 / "config.json", **values)
    refused(gpt2, *words)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(number, gpt2):
    text = (gpt2 / "config.json").read_text(encoding="utf-8")
    (gpt2 / "config.json").write_text(
        text.replace('"layer_norm_epsilon": 1e-05', f'"layer_norm_epsilon": {number}'), encoding="utf-8"
    )
    refused(gpt2, "config.json")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rope_scaling": [1]}, ["rope_scaling is [1]", "object"]),
        ({"rope_scaling": "llama3"}, ["rope_scaling is 'llama3'"]),
        ({"rope_scaling": {"rope_type": "llama3"}}, ["factor is None"]),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 0, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8}},
         ["factor=0", "0 < factor"]),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 8}},
         ["low=4", "0 < low < high"]),
        ({"rope_scaling": {"rope_type": ["llama3"]}}, ["rope_type is ['llama3']"]),
        ({"rope_parameters": 7}, ["rope_parameters is 7"]),
        ({"rope_theta": 0}, ["base=0"]),
        ({"rope_theta": "10000"}, ["rope_theta is '10000'"]),
        ({"num_attention_heads": 0}, ["num_attention_heads is 0"]),
        ({"num_key_value_heads": -1}, ["num_key_value_heads is -1"]),
        ({"rms_norm_eps": -1e-5}, ["rms_norm_eps is -1e-05"]),
        ({"max_position_embeddings": 1 << 60}, ["max_position_embeddings is 1152921504606846976"]),
    ],
)  # fmt: skip
def test_a_configuration_of_llama_that_cannot_be_is_refused(values, words, llama):
    changed(llama / "config.json", **values)
    refused(llama, *words)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: np.where(np.arange(a.size) == 1, np.float32(np.nan), a), ["NaN or infinite"]),
        (lambda a: a * np.float32(np.inf), ["NaN or infinite"]),
        (lambda a: a.astype(np.int8), ["int8", "floating-point"]),
        (lambda a: a > 0, ["bool", "floating-point"]),
        (lambda a: a[:-1], ["has shape"]),
    ],
)
def test_weights_that_are_not_finite_or_no_floating_point_numbers_are_refused(spoil, words, gpt2):
    from transformer.pretrained import read_safetensors, write_safetensors

    arrays, name = read_safetensors(gpt2 / "model.safetensors"), "transformer.ln_f.weight"
    with np.errstate(all="ignore"):
        arrays[name] = spoil(arrays[name])
    write_safetensors(arrays, gpt2 / "model.safetensors")
    refused(gpt2, "ln_f.weight", *words)


def test_the_name_of_the_formats_own_entry_is_refused(tmp_path):
    from transformer.pretrained import write_safetensors

    pytest.importorskip("safetensors")
    with pytest.raises(ValueError, match="'__metadata__' is the format's own name"):
        write_safetensors({"__metadata__": np.ones(2, np.float32)}, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a\\b", "..", "", "C:x", "x" * 300, "a\0b", 7, None]
)
def test_an_index_of_shards_leads_nowhere_else(name, gpt2):
    (gpt2 / "model.safetensors").rename(gpt2 / "a.safetensors")
    (gpt2 / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}), encoding="utf-8")
    refused(gpt2, "index.json", "weight_map")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("modules.json", "{}", "expected a list of steps"), ("modules.json", "[1]", "expected a list of steps"),
        ("modules.json", '[{"type": 7}]', "expected a list of steps"), ("modules.json", '[{"kind": "a"}]', "expected a list of steps"),
        ("modules.json", '[{"type": "a.Dense"}]', "a step 'Dense'"), ("modules.json", "[" * 100_000, "not readable as JSON"),
        ("sentence_bert_config.json", '{"max_seq_length": "8"}', "max_seq_length is '8'"),
        ("sentence_bert_config.json", '{"max_seq_length": null}', "max_seq_length is 'None'"),
        ("sentence_bert_config.json", '{"max_seq_length": 1e400}', "max_seq_length is 'inf'"),
        ("sentence_bert_config.json", '{"max_seq_length": 0}', "max_seq_length is '0'"),
        ("sentence_bert_config.json", '{"max_seq_length": 100}', "the model reads 8"), ("sentence_bert_config.json", "[]", "expected a JSON object"),
        ("tokenizer_config.json", '{"do_lower_case": "yes"}', "do_lower_case is 'yes'"),
        ("tokenizer_config.json", '{"strip_accents": 1}', "strip_accents is 1"), ("1_Pooling/config.json", "[]", "expected a JSON object"),
    ],
)  # fmt: skip
def test_the_files_of_a_sentence_encoder_are_refused_by_their_name(file, content, words, bert):
    from transformer.pretrained import load_sentence_encoder

    (bert / file).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        load_sentence_encoder(bert)
    assert str(bert) in str(caught.value) and words in str(caught.value) and len(str(caught.value)) < 1000


# Vocabularies -------------------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_before_a_vocabulary_is_no_part_of_it(bert, tmp_path):
    plain = WordPieceTokenizer.from_file(bert / "vocab.txt").to_dict()
    (bert / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + (bert / "vocab.txt").read_bytes())
    assert WordPieceTokenizer.from_file(bert / "vocab.txt").to_dict() == plain
    tokenizer = GPT2Tokenizer.train(TEXT, 260)
    for name, text in tokenizer.files().items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.replace("#version: 0.2\n", "").encode())
    assert GPT2Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt").to_dict() == tokenizer.to_dict()


def test_a_message_about_merges_has_a_bounded_length(tmp_path):
    for name, text in GPT2Tokenizer.train(TEXT, 260).files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "merges.txt").write_text("x" * 100_000 + " y\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges\.txt, with .*vocab\.json: merge 0") as caught:
        GPT2Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert len(str(caught.value)) < 700


# Runs ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"num_layers": 1_000_000}, "num_layers is 1000000"),
        ({"embedding_dim": 1 << 19, "num_heads": 1}, "far more than the file of weights holds"),
        ({"vocab_size": 10**15}, "vocab_size is 1000000000000000"),
        ({"vocab_size": "20"}, "vocab_size='20'"),
        ({"num_layers": 1.0}, "num_layers=1.0"),
        ({"dropout": "x"}, "does not describe a model"),
        ({"unknown": 1}, "does not describe a model"),
        ({"norm": []}, "norm=[]"),
    ],
)
def test_a_configuration_with_a_right_checksum_and_wrong_sizes_is_refused_before_anything_is_built(
    model, words, tmp_path
):
    folder = run_folder(tmp_path)
    config = folder.config()
    folder.write_config({**config, "model": {**config["model"], **model}})
    state = mg.load(folder.best_file)
    state["@run"] = np.array([folder.identity(), 2])
    mg.save(state, folder.best_file)
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(ValueError) as caught:
        folder.load_model()
    assert tracemalloc.get_traced_memory()[1] < 30e6 and time.process_time() - begun < 5
    tracemalloc.stop()
    assert words in str(caught.value) and str(folder.path) in str(caught.value)


def test_a_configuration_of_brackets_is_no_traceback(tmp_path):
    folder = run_folder(tmp_path)
    folder.config_file.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json: not readable as JSON"):
        folder.load_model()


def test_weights_of_a_run_that_are_not_finite_are_refused(tmp_path):
    folder = run_folder(tmp_path)
    state = mg.load(folder.best_file)
    state["norm.weight"][0] = np.nan
    mg.save(state, folder.best_file)
    with pytest.raises(ValueError, match=r"best\.npz.*norm\.weight holds 1 numbers that are NaN"):
        folder.load_model()


def test_loading_a_model_draws_no_random_numbers(tmp_path):
    folder = run_folder(tmp_path)
    before = mg.random.generator().bit_generator.state
    RunFolder(folder.path).load_model()
    assert mg.random.generator().bit_generator.state == before


def test_a_model_is_built_within_the_size_of_its_file():
    arrays = {"a": np.zeros((1 << 10, 1 << 10), np.float32)}
    with outline({"vocab_size": 1 << 10}, arrays):
        assert not GPT(1 << 10, 16, 2, 1, 8).token_embedding.weight.data.any()
    with pytest.raises(ValueError, match="far more than"), outline({}, arrays):
        GPT(1 << 20, 64, 2, 1, 8)


def test_a_link_is_followed_and_a_folder_in_the_place_of_a_file_is_told(tmp_path):
    folder = run_folder(tmp_path)
    moved = folder.best_file.rename(tmp_path / "elsewhere.npz")
    folder.best_file.symlink_to(moved)
    folder.load_model()
    folder.best_file.unlink()
    folder.best_file.mkdir()
    with pytest.raises(ValueError, match=r"best\.npz: is a folder"):
        folder.load_model()
    shutil.rmtree(folder.best_file)
