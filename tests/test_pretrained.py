"""Checkpoints of the transformers library: the same outputs and the same gradients of every weight, there and back.

The recorded cases (tests/reference/record_pretrained.py) run on every machine; the tests marked `weights` ask the library itself.
"""

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from minigrad import Tensor, concatenate, manual_seed, no_grad
from minigrad.nn import Linear
from transformer import (
    BERT,
    GPT,
    BPETokenizer,
    CharTokenizer,
    Classifier,
    FeedForward,
    GPT2Tokenizer,
    LayerNorm,
    RMSNorm,
    RotaryPositions,
    SpanReader,
    SwiGLU,
    Tagger,
    WordPieceTokenizer,
    generate,
)
from transformer.data.wordpiece import SPECIAL
from transformer.positions import StretchedRotation
from transformer.pretrained import (
    FORMATS,
    format_of,
    from_arrays,
    load_pretrained,
    read_safetensors,
    read_tokenizer,
    save_pretrained,
    to_arrays,
    tokenizer_files,
    write_safetensors,
)
from transformer.pretrained.llama import interleaving
from transformer.pretrained.names import to_theirs
from transformer.training.checkpoints import RunFolder

FILE = np.load(Path(__file__).parent / "reference" / "pretrained" / "models.npz", allow_pickle=False)
NAMES = sorted({key.split("/")[0] for key in FILE.files})
LLAMAS = [name for name in NAMES if name.startswith("llama")]
KINDS = {
    "bert": "AutoModel",
    "bert_masked_words": "AutoModelForMaskedLM",
    "bert_tagger": "AutoModelForTokenClassification",
    "bert_span_reader": "AutoModelForQuestionAnswering",
}
TOLERANCE = 1e-5  # of the largest entry; the promise is 1e-4


def named(arrays, prefix):
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


@cache
def recorded(name):
    return named({key: FILE[key] for key in FILE.files}, f"{name}/")


def build(case, interleaved=False):
    return from_arrays(json.loads(str(case["config"])), named(case, "weight."), interleaved)


def run(model, case):
    """The output as the recorder lays it out: logits, or a BERT's vectors and the pooled one after them."""
    inputs = named(case, "input.")
    if isinstance(model, GPT):
        return model(inputs["ids"])
    output = model(inputs["ids"], inputs["mask"], inputs["segments"])
    return concatenate([output, model.pool(output)[:, None]], axis=1) if isinstance(model, BERT) else output


def check(case, interleaved=False):
    model = build(case, interleaved)
    output = run(model, case)
    assert_close(output.data, case["output"], "output")
    output.backward(case["upstream"])
    ours = {name: parameter.grad.data for name, parameter in model.named_parameters()}
    gradients = to_theirs(FORMATS[format_of(model)].table(model), ours)
    expected = named(case, "grad.")
    assert gradients.keys() == expected.keys()
    largest = max(np.abs(array).max() for array in expected.values())
    for name, array in expected.items():  # a gradient that is zero in theory has no size of its own
        assert_close(gradients[name], array, name, max(np.abs(array).max(), 0.1 * largest))


def assert_close(answer, expected, name, size=None):
    assert answer.shape == expected.shape and answer.dtype == np.float32
    error = np.abs(answer - expected).max() / (np.abs(expected).max() if size is None else size)
    assert error < TOLERANCE, f"{name} is off by {error:.1e} of its largest entry"


# The same numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_every_gradient_equal_the_recorded_ones(name):
    check(recorded(name))


@pytest.mark.parametrize("name", LLAMAS)
def test_a_llama_with_interleaved_rotation_computes_the_same(name):
    check(recorded(name), interleaved=True)


@pytest.mark.parametrize("name", LLAMAS)
def test_interleaving_permutes_queries_and_keys_within_each_head(name):
    case = recorded(name)
    halves, pairs = build(case), build(case, interleaved=True)
    heads, kv_heads, width = halves.layers[0].self_attention.num_heads, halves.layers[0].self_attention.num_kv_heads, 16
    for part, number in (("q_proj", heads), ("k_proj", kv_heads)):
        ours, theirs = (getattr(m.layers[0].self_attention, part).weight.data for m in (pairs, halves))
        head_dim = width // heads
        for h in range(number):
            columns = theirs[:, h * head_dim : (h + 1) * head_dim]
            first, second = columns[:, : head_dim // 2], columns[:, head_dim // 2 :]
            np.testing.assert_array_equal(ours[:, h * head_dim : (h + 1) * head_dim : 2], first)
            np.testing.assert_array_equal(ours[:, h * head_dim + 1 : (h + 1) * head_dim : 2], second)
    assert sorted(interleaving(3, 4)) == list(range(12))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_read_is_written_back_bit_for_bit(name, interleaved):
    case = recorded(name)
    config, arrays = to_arrays(build(case, interleaved))
    weights = named(case, "weight.")
    assert arrays.keys() == weights.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, weights[key], err_msg=key)
    again = from_arrays(config, arrays)
    np.testing.assert_array_equal(run(again, case).data, run(build(case), case).data)


def test_each_number_in_the_config_matters():
    """No setting of the variants is read from a default by accident: changing it changes the output."""
    changes = {
        "gpt2_variant": {"layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"},
        "llama_variant": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rms_norm_eps": 1e-6},
        "llama_stretched": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        "bert": {"layer_norm_eps": 1e-12, "hidden_act": "relu"},
        "bert_masked_words": {"hidden_act": "gelu"},
    }
    for name, settings in changes.items():
        case = recorded(name)
        for key, value in settings.items():
            config = {**json.loads(str(case["config"])), key: value}
            output = run(from_arrays(config, named(case, "weight.")), case).data
            assert np.abs(output - case["output"]).max() > 1e-4, f"{name}: {key}"


def test_older_configs_with_rope_theta_and_rope_scaling_are_understood():
    case = recorded("llama_stretched")
    config = json.loads(str(case["config"]))
    rope = config.pop("rope_parameters")
    theta = rope.pop("rope_theta")
    for old in ({"rope_scaling": rope}, {"rope_scaling": {"type": rope["rope_type"], **{k: v for k, v in rope.items() if k != "rope_type"}}}):
        model = from_arrays({**config, "rope_theta": theta, **old}, named(case, "weight."))
        assert_close(run(model, case).data, case["output"], "output")


def test_names_without_the_outer_prefix_and_buffers_are_understood():
    case = recorded("gpt2")
    weights = {key.removeprefix("transformer."): array for key, array in named(case, "weight.").items()}
    weights["h.0.attn.bias"] = np.tril(np.ones((1, 1, 9, 9), np.float32))  # a mask that old files carry
    weights["lm_head.weight"] = weights["wte.weight"]
    model = from_arrays(json.loads(str(case["config"])), weights)
    assert_close(run(model, case).data, case["output"], "output")


def test_old_names_of_bert_and_heads_that_are_not_here_are_understood():
    case = recorded("bert_masked_words")
    weights = {}
    for name, array in named(case, "weight.").items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        weights[name] = array
    weights |= {"cls.seq_relationship.weight": np.zeros((2, 12)), "bert.embeddings.position_ids": np.arange(9)[None]}
    assert_close(run(from_arrays(json.loads(str(case["config"])), weights), case).data, case["output"], "output")


# Behaviour of the models -----------------------------------------------------------------------------------------------


def test_padding_changes_nothing_for_the_real_tokens_of_a_bert():
    model = build(recorded("bert"))
    ids = np.array([[3, 5, 7, 2]])
    padded = np.array([[3, 5, 7, 2, 9, 9]])
    alone = model(ids).data
    np.testing.assert_allclose(model(padded, np.array([[1, 1, 1, 1, 0, 0]])).data[:, :4], alone, atol=1e-5)
    assert np.abs(model(padded).data[:, :4] - alone).max() > 1e-2


def test_segments_of_a_bert_are_checked_and_used():
    model = build(recorded("bert"))
    ids = np.array([[3, 5, 7]])
    assert np.abs(model(ids, segment_ids=[[0, 1, 2]]).data - model(ids).data).max() > 1e-2
    with pytest.raises(IndexError, match="segments: token id 3"):
        model(ids, segment_ids=[[0, 1, 3]])
    with pytest.raises(ValueError, match=r"segment_ids \(1, 2\) for token ids \(1, 3\)"):
        model(ids, segment_ids=[[0, 1]])
    with pytest.raises(ValueError, match="exceed the context of 9"):
        model(np.ones((1, 10), int))


def test_a_bert_without_a_pooler_says_so():
    model = BERT(7, 8, 2, 1, 8)
    with pytest.raises(ValueError, match="no pooler"):
        model.pool(model(np.array([[1, 2]])))


def test_a_loaded_model_generates_with_and_without_a_cache():
    for name in ("gpt2", "llama_stretched"):
        for interleaved in (False, True):
            model = build(recorded(name), interleaved)
            with_cache, without = (generate(model, np.array([1, 2, 3]), 5, temperature=0, use_cache=use) for use in (True, False))
            np.testing.assert_array_equal(with_cache, without)


def test_parts_given_in_place_of_names_build_the_same_model():
    def logits(**options):
        manual_seed(3)
        with no_grad():
            return GPT(11, 8, 2, 1, 6, ffn_dim=12, **options)(np.array([[1, 2, 3]])).data

    named_ones = logits(norm="rms", positions="rotary", ffn="swiglu")
    np.testing.assert_array_equal(logits(norm=RMSNorm, positions=RotaryPositions(4), ffn=SwiGLU), named_ones)
    np.testing.assert_array_equal(logits(norm=LayerNorm, ffn=partial(FeedForward, activation="gelu")), logits())
    assert np.abs(logits(norm=partial(RMSNorm, eps=0.5), positions="rotary", ffn="swiglu") - named_ones).max() > 1e-3
    with pytest.raises(ValueError, match="ffn is a SwiGLU already, but each layer needs its own"):
        logits(ffn=SwiGLU(8, 12))
    for wrong in (RotaryPositions, 3):
        with pytest.raises(ValueError, match=r"positions=.*expected one of learned"):
            logits(positions=wrong)


def test_a_stretched_rotation_keeps_fast_waves_slows_slow_ones_and_is_continuous():
    stretch = StretchedRotation(8.0, 1.0, 4.0, 100)
    turns = np.array([0.5, 1.0, 2.5, 4.0, 9.0])
    theta = 2 * np.pi * turns / 100
    np.testing.assert_allclose(stretch(theta) / theta, [1 / 8, 1 / 8, (1 / 8 + 1) / 2, 1, 1])


# What cannot be read or written is refused -----------------------------------------------------------------------------


def test_a_config_that_asks_for_something_else_is_refused_by_name():
    for name, change in [
        ("gpt2", {"model_type": "t5"}),
        ("gpt2", {"activation_function": "tanh"}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"n_embd": "wide"}),
        ("gpt2", {"n_layer": True}),
        ("llama", {"head_dim": 8}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}),
        ("bert", {"position_embedding_type": "relative_key"}),
        ("bert", {"is_decoder": True}),
    ]:
        case = recorded(name)
        config = {**json.loads(str(case["config"])), **change}
        word = next(iter(change)) if name != "llama" or "rope_parameters" not in change else "rope_type is 'yarn'|low_freq_factor is None"
        with pytest.raises(ValueError, match=word):
            from_arrays(config, named(case, "weight."))


def test_a_tagger_keeps_the_names_of_its_labels_and_its_dropout():
    tagger = Tagger(BERT(11, 8, 2, 1, 6, dropout=0.1), ("O", "B-PER", "I-PER"), dropout=0.3)
    config, arrays = to_arrays(tagger)
    assert config["id2label"] == {"0": "O", "1": "B-PER", "2": "I-PER"} and config["label2id"]["I-PER"] == 2
    again = from_arrays(config, arrays)
    assert again.labels == tagger.labels and again.dropout.p == 0.3 and again.bert.dropout.p == 0.1
    for odd in ({"1": "O", "2": "B-PER"}, ["O", "B-PER"]):
        with pytest.raises(ValueError, match="id2label is"):
            from_arrays({**config, "id2label": odd}, arrays)
    with pytest.raises(ValueError, match=r"labels \['O', 'O'\]; expected two different names"):
        from_arrays({**config, "id2label": {"0": "O", "1": "O"}}, arrays)


def test_a_head_leaves_the_pooler_that_it_does_not_use_behind():
    body = BERT(11, 8, 2, 1, 6, pooler=True)
    for model in (Tagger(body, ("no", "yes")), SpanReader(body)):
        config, arrays = to_arrays(model.eval())
        assert not any("pooler" in name for name in arrays)
        ids = np.array([[1, 2, 3]])
        np.testing.assert_array_equal(from_arrays(config, arrays)(ids).data, model(ids).data)


def test_a_classifier_of_whole_texts_is_not_taken_for_a_tagger():
    config, arrays = to_arrays(Tagger(BERT(11, 8, 2, 1, 6), ("no", "yes")))
    shapes = {"bert.pooler.dense.weight": (8, 8), "bert.pooler.dense.bias": (8,)}
    pooler = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match="the classifier stands on the pooler"):
        from_arrays(config, arrays | pooler)


def test_weights_that_do_not_fit_are_named():
    case = recorded("gpt2")
    config, weights = json.loads(str(case["config"])), named(case, "weight.")
    with pytest.raises(ValueError, match=r"lacks ln_f\.bias$"):
        from_arrays(config, {key: a for key, a in weights.items() if key != "transformer.ln_f.bias"})
    with pytest.raises(ValueError, match=r"lacks h\.2\..* …"):
        from_arrays({**config, "n_layer": 3}, weights)
    with pytest.raises(ValueError, match="has surplus"):
        from_arrays(config, {**weights, "surplus": np.zeros(1)})
    with pytest.raises(ValueError, match=r"wte\.weight has shape"):
        from_arrays({**config, "n_embd": 15}, weights)
    case = recorded("llama")
    with pytest.raises(ValueError, match=r"k_proj\.weight has shape \(8, 16\); the sizes in config\.json call for \(16, 16\)"):
        from_arrays({**json.loads(str(case["config"])), "num_key_value_heads": 4}, named(case, "weight."))


def test_models_that_no_format_expresses_are_refused_with_the_reason():
    sizes = (11, 8, 2, 1, 6)
    with pytest.raises(TypeError, match="Classifier has no format"):
        to_arrays(Classifier(7, 3, 8, 2, 1, 8))
    with pytest.raises(TypeError, match="Linear has no format"):
        to_arrays(Linear(2, 2))
    for options, reason in [
        ({"positions": "alibi"}, "positions='learned'"),
        ({"norm": "rms"}, "ffn='swiglu'"),
        ({"num_kv_heads": 1}, "no grouped heads"),
        ({"norm": "rms", "ffn": "swiglu", "positions": RotaryPositions(4, stretch=lambda theta: theta / 2)}, "StretchedRotation"),
    ]:
        with pytest.raises(ValueError, match=reason):
            to_arrays(GPT(*sizes, **options))


def test_a_gpt_without_biases_is_written_with_zeros():
    model = GPT(11, 8, 2, 1, 6, bias=False).eval()
    config, arrays = to_arrays(model)
    assert not arrays["transformer.h.0.attn.c_attn.bias"].any() and arrays["transformer.h.0.attn.c_attn.bias"].shape == (24,)
    ids = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(from_arrays(config, arrays)(ids).data, model(ids).data)


def test_without_the_extra_the_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install -e .\.\[pretrained\]"):
        write_safetensors({"a": np.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ImportError, match=r"pip install -e .\.\[pretrained\]"):
        read_safetensors(tmp_path / "x.safetensors")
    with pytest.raises(ImportError, match=r"pip install -e .\.\[pretrained\]"):
        save_pretrained(GPT(11, 8, 2, 1, 6), tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"ignore_merges": True}),
        ("model", {"byte_fallback": True}),
        ("normalizer", {"type": "NFC"}),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated", "invert": False}),
    ],
)
def test_a_tokenizer_with_other_rules_is_refused_rather_than_misread(part, change, tmp_path):
    content = json.loads(tokenizer_files(BPETokenizer.train("the cat the mat", 260))["tokenizer.json"])
    content[part] = {**content["model"], **change} if part == "model" else change
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokenizer\.json: a BPE tokenizer .* is not known here"):
        read_tokenizer(tmp_path)


def test_a_missing_or_damaged_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer; expected vocab\.txt"):
        read_tokenizer(tmp_path)
    for damaged in ('{"model": 3}', "{}", '{"model": {"type": "BPE"}, "pre_tokenizer": {}}'):
        (tmp_path / "tokenizer.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"tokenizer\.json: damaged, or not a tokenizer"):
            read_tokenizer(tmp_path)


# Files -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def safetensors():
    pytest.importorskip("safetensors", reason="the extra 'pretrained' is not installed")


@pytest.mark.weights
def test_arrays_of_every_type_come_back_as_they_were(safetensors, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {t: rng.normal(0, 50, (3, 2)).astype(t) for t in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")}
    arrays |= {"scalar": np.array(2.5), "empty": np.zeros((0, 3), np.float32), "turned": np.arange(6.0).reshape(2, 3).T}
    arrays["big-endian"] = np.arange(3, dtype=">f4")
    write_safetensors({**arrays, "tensor": Tensor([1.0, 2.0])}, tmp_path / "x.safetensors")
    back = read_safetensors(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(back.pop("tensor"), [1.0, 2.0])
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(back[name], array)
        back[name][...] = 0  # ours to change


@pytest.mark.weights
def test_bfloat16_is_read_as_float32(safetensors, tmp_path):
    """Bits chosen by hand: 1, −2, the largest, the smallest, infinity."""
    bits = np.array([0x3F80, 0xC000, 0x7F7F, 0x0001, 0x7F80], "<u2")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())
    array = read_safetensors(tmp_path / "x.safetensors")["w"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array([1, -2, (2 - 2**-7) * 2.0**127, 2.0**-133, np.inf], np.float32))


@pytest.mark.weights
def test_damaged_files_are_refused_with_their_name(safetensors, tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors({"a": np.arange(100.0), "b": np.ones(3)}, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:50], whole[:-1], b"\xff" * 100, whole.replace(b"F64", b"F99", 1), whole.replace(b"[100]", b"[101]")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.safetensors: truncated, damaged or not"):
            read_safetensors(path)
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(ValueError, match=r"w is stored as F8_E4M3|damaged"):  # old versions of the library do not know it
        read_safetensors(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_safetensors(tmp_path / "none.safetensors")


@pytest.mark.weights
def test_a_failed_write_leaves_the_old_file_whole(safetensors, tmp_path):
    write_safetensors({"a": np.ones(3)}, tmp_path / "x.safetensors")
    for bad in ({"a": np.array(["text"])}, {"a": np.array([1j])}, {"a": np.array([object()])}):
        with pytest.raises(TypeError, match="'a' has dtype"):
            write_safetensors(bad, tmp_path / "x.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    np.testing.assert_array_equal(read_safetensors(tmp_path / "x.safetensors")["a"], np.ones(3))


@pytest.mark.weights
def test_a_checkpoint_in_shards_is_read_whole(safetensors, tmp_path):
    model = GPT(11, 8, 2, 2, 6, norm="rms", positions="rotary", ffn="swiglu", bias=False).eval()
    save_pretrained(model, tmp_path / "whole")
    arrays = read_safetensors(tmp_path / "whole" / "model.safetensors")
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    places = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(arrays)}
    for shard in set(places.values()):
        write_safetensors({name: a for name, a in arrays.items() if places[name] == shard}, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    ids = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(load_pretrained(folder)(ids).data, model(ids).data)
    with pytest.raises(FileExistsError, match=r"model\.safetensors\.index\.json"):
        save_pretrained(model, folder)
    index.write_text(json.dumps({"weight_map": {**places, "model.norm.weight": "../x.safetensors"}}))
    with pytest.raises(ValueError, match="not an index of shards"):
        load_pretrained(folder)
    index.write_text(json.dumps({"weight_map": {**places, "more": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(ValueError, match="lacks more"):
        load_pretrained(folder)


@pytest.mark.weights
def test_mistakes_with_folders_are_one_line_that_names_the_folder(safetensors, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not readable as JSON"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: no such file"):
        load_pretrained(tmp_path)
    write_safetensors({"a": np.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 5, "n_embd": 4, "n_head": 3}')
    with pytest.raises(ValueError, match=f"{tmp_path.name}.*does not divide"):
        load_pretrained(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        save_pretrained(GPT(11, 8, 2, 1, 6), tmp_path / "file")
    with pytest.raises(ValueError, match="tokenizer has 256 tokens, the model 11"):
        save_pretrained(GPT(11, 8, 2, 1, 6), tmp_path / "new", BPETokenizer([]))
    assert not (tmp_path / "new").exists()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model\.bin, a pickle"):
        load_pretrained(tmp_path / "pickled")
    (tmp_path / "vocab.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"vocab\.txt of another checkpoint"):
        save_pretrained(GPT(300, 8, 2, 1, 6), tmp_path, BPETokenizer([]))


@pytest.mark.weights
def test_a_run_folder_is_neither_read_nor_overwritten(safetensors, tmp_path):
    tokenizer = CharTokenizer("abc")
    RunFolder(tmp_path).create({"model": {}}, tokenizer)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="RunFolder"):
        from_arrays(json.loads((tmp_path / "config.json").read_text()), {})
    with pytest.raises(FileExistsError, match=r"config\.json that is no checkpoint's"):
        save_pretrained(GPT(3, 8, 2, 1, 6), tmp_path, tokenizer)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def our_tokenizers():
    text = "the cat sat on the mat, and the dog sat by the cat. " * 3 + "naïve ½ 42"
    words = ["the", "cat", "sat", "##s", "on", "mat", "a", "##n", "##d", ".", ","]
    return [
        CharTokenizer.train(text),
        BPETokenizer.train(text, 280),
        GPT2Tokenizer.train(text, 280),
        WordPieceTokenizer([*SPECIAL, *words], max_length=6),
        WordPieceTokenizer([*SPECIAL, *words], lowercase=False, strip_accents=True),
    ]


@pytest.mark.weights
@pytest.mark.parametrize("tokenizer", our_tokenizers(), ids=lambda t: t.kind)
def test_model_and_tokenizer_come_back_from_their_folder(tokenizer, safetensors, tmp_path):
    model = GPT(tokenizer.vocab_size, 8, 2, 1, 16).eval()
    save_pretrained(model, tmp_path / "out", tokenizer)
    save_pretrained(model, tmp_path / "out", tokenizer)  # over itself
    again = read_tokenizer(tmp_path / "out")
    assert again.to_dict() == tokenizer.to_dict()
    ids = tokenizer.encode("the cat sat")[None]
    np.testing.assert_array_equal(load_pretrained(tmp_path / "out")(ids).data, model(ids).data)


# Live ------------------------------------------------------------------------------------------------------------------


@pytest.mark.weights
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_every_gradient_equal_the_librarys(name, library):
    check(library.answer(name, seed=2))
    if name in LLAMAS:
        check(library.answer(name, seed=3), interleaved=True)


@pytest.mark.weights
def test_every_case_is_recorded_and_the_recording_is_the_librarys(library):
    assert sorted(library.MODELS) == NAMES
    for name in NAMES:
        then, now = recorded(name), library.answer(name)
        assert then.keys() == now.keys()
        for key in then.keys() - {"config"}:
            np.testing.assert_allclose(then[key], now[key], rtol=1e-4, atol=1e-5, err_msg=f"{name}/{key}")


@pytest.mark.weights
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_theirs_opens_here_and_ours_opens_there(name, library, tmp_path):
    theirs, inputs = library.random_model(name, seed=4), library.random_inputs(name, seed=4)
    theirs.save_pretrained(tmp_path / "theirs")
    expected = library.ask(theirs, inputs).detach().numpy()
    ours = load_pretrained(tmp_path / "theirs", interleaved=name in LLAMAS)
    assert_close(run(ours, {f"input.{key}": value for key, value in inputs.items()}).data, expected, "output")
    save_pretrained(ours, tmp_path / "ours")
    kind = KINDS.get(name, "AutoModelForCausalLM")
    back, told = getattr(library.transformers, kind).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(told.values()), told
    np.testing.assert_array_equal(library.ask(back.eval(), inputs).detach().numpy(), expected)


@pytest.mark.weights
@pytest.mark.parametrize("kind", [CharTokenizer, BPETokenizer, GPT2Tokenizer, WordPieceTokenizer])
def test_a_tokenizer_written_here_gives_the_same_ids_there(kind, library, tmp_path):
    texts = library.nasty(seed=5, count=200)
    tokenizer = our_tokenizers()[3] if kind is WordPieceTokenizer else kind.train("".join(texts))
    sizes = (tokenizer.vocab_size, 8, 2, 1, 64)
    save_pretrained(BERT(*sizes) if kind is WordPieceTokenizer else GPT(*sizes), tmp_path, tokenizer)
    theirs = library.transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in texts:
        ids = tokenizer.encode(text).tolist()
        assert theirs.encode(text, truncation=True) == ids, ascii(text)
        if kind is not WordPieceTokenizer:
            assert theirs.decode(ids) == text


@pytest.mark.weights
def test_a_tokenizer_that_the_library_saved_gives_the_same_ids_here(library, tmp_path):
    texts, ours = library.nasty(seed=6, count=200), our_tokenizers()
    library.their_gpt2(ours[2].vocabulary, ours[2].merges).save_pretrained(tmp_path / "gpt2")
    library.their_wordpiece(ours[3].vocabulary, do_lower_case=False).save_pretrained(tmp_path / "bert")
    for name in ("gpt2", "bert"):
        theirs = library.transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        tokenizer = read_tokenizer(tmp_path / name)
        for text in texts:
            assert tokenizer.encode(text).tolist() == theirs.encode(text, truncation=name == "bert"), ascii(text)


@pytest.mark.weights
@pytest.mark.parametrize("options", [{}, {"bias": False, "ffn": "relu"}, {"norm": "rms", "positions": "rotary", "ffn": "swiglu", "num_kv_heads": 1}])
@pytest.mark.parametrize("tokenizer", our_tokenizers()[:3], ids=lambda t: t.kind)
def test_a_model_made_here_opens_there_with_its_tokenizer(options, tokenizer, library, tmp_path):
    model = GPT(tokenizer.vocab_size, 8, 2, 2, 64, **options).eval()
    save_pretrained(model, tmp_path, tokenizer)
    their_model = library.transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    their_tokenizer = library.transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "the cat sat on the mat, and.  ½ naïve 42"
    ids = tokenizer.encode(text)
    assert their_tokenizer(text).data == {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)}
    assert their_tokenizer.decode(ids.tolist()) == text
    expected = their_model.eval()(library.torch.from_numpy(ids.astype(np.int64)[None])).logits.detach().numpy()
    assert_close(model(ids[None]).data, expected, "logits")
