"""Mistakes that learners make, each with the message that must help: what was wrong, with its values, and what to do."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, optim
from transformer import GPT, Classifier, KVCache, LayerNorm, MultiHeadAttention, Transformer, beam_search, generate, padding_mask
from transformer.cli import main

X = np.ones((2, 3))
IDS = np.array([[1, 2, 3]])


def leaf(*shape: int) -> Tensor:
    """Ones that require grad."""
    return Tensor(np.ones(shape), requires_grad=True)


def gpt(**options: object) -> GPT:
    """A tiny language model: vocabulary 10, context 8."""
    return GPT(**{"vocab_size": 10, "embedding_dim": 8, "num_heads": 2, "num_layers": 1, "context_length": 8, **options})


def heads(length: int, width: int = 4) -> Tensor:
    """Queries, keys or values (1, 2, length, width)."""
    return Tensor(np.ones((1, 2, length, width)))


def backward_twice() -> None:
    loss = (leaf(3) * 2.0).sum()
    loss.backward()
    loss.backward()


def write_into_leaf() -> None:
    leaf(3)[0] = 1.0


def write_into_result() -> None:
    (leaf(3) * 2.0)[0] = 1.0


def write_after_it_was_read() -> None:
    w = leaf(3)
    loss = (w * w).sum()
    with mg.no_grad():
        w[0] = 5.0
    loss.backward()


def write_a_gradient_away() -> None:
    Tensor(np.zeros(3))[0] = leaf(1)[0]


def frozen() -> list:
    """All parameters of a model that does not learn."""
    model = gpt()
    for p in model.parameters():
        p.requires_grad = False
    return model.parameters()


def cached_in_training() -> None:
    gpt()(IDS, cache=KVCache(8))


def state_of_another() -> None:
    gpt().load_state_dict(gpt(embedding_dim=16).state_dict())


def state_without_name() -> None:
    state = gpt().state_dict()
    state["typo"] = state.pop("norm.weight")
    gpt().load_state_dict(state)


class PlainList(nn.Module):
    """Layers where nothing looks for them."""

    def __init__(self, kind: type) -> None:
        layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        self.layers = dict(enumerate(layers)) if kind is dict else kind(layers)


class PlainTensor(nn.Module):
    """A Tensor in the place of a Parameter."""

    def __init__(self) -> None:
        self.w = leaf(3)


class ParameterList(nn.Module):
    """Parameters in a plain list."""

    def __init__(self) -> None:
        self.biases = [nn.Parameter(np.zeros(2))]


def no_parentheses() -> None:
    with mg.no_grad:  # type: ignore[attr-defined]
        pass


P = leaf(3)
Row = tuple[str, Callable[[], object], type[Exception], list[str]]
MISTAKES: list[Row] = [
    # Shapes
    ("matmul", lambda: Tensor(X) @ Tensor(X), ValueError, ["matmul", "(2, 3) @ (2, 3)", "3", "2"]),
    ("linear", lambda: nn.Linear(4, 5)(Tensor(X)), ValueError, ["linear", "(2, 3)", "(4, 5)"]),
    ("linear bias", lambda: mg.linear(X, np.ones((3, 5)), np.ones(3)), ValueError, ["bias (3,)", "(3, 5)", "expected (5,)"]),
    ("add", lambda: Tensor(X) + leaf(2), ValueError, ["add", "(2, 3)", "(2,)"]),
    ("reshape", lambda: Tensor(X).reshape(4, 2), ValueError, ["reshape", "(2, 3)", "size 6", "(4,2)"]),
    ("layer_norm", lambda: mg.layer_norm(X, np.ones(2), np.zeros(2)), ValueError, ["layer_norm", "(2,)", "(2, 3)", "(3,)", "last axis"]),
    ("transposed mask", lambda: mg.scaled_dot_product_attention(heads(3), heads(5), heads(5), np.ones((5, 3), bool)), ValueError,
     ["(5, 3)", "(1, 2, 3, 5)", "transposed: queries are rows"]),
    ("2-D padding mask", lambda: mg.scaled_dot_product_attention(
        np.ones((4, 2, 3, 4)), np.ones((4, 2, 3, 4)), np.ones((4, 2, 3, 4)), np.ones((4, 3), bool)), ValueError,
     ["(4, 3)", "(4, 2, 3, 3)", "padding_mask"]),
    ("integer mask", lambda: mg.scaled_dot_product_attention(heads(3), heads(3), heads(3), np.ones((3, 3), int)), TypeError,
     ["int64", "True = may attend", "astype(bool)"]),
    ("ids as padding mask", lambda: padding_mask([[5, 7, 0]]), ValueError, ["got 5", "ids != pad_id"]),
    ("mask of another batch", lambda: Classifier(10, 2, 8, 2, 1, 8)(IDS, np.ones((1, 4))), ValueError, ["(1, 4)", "(1, 3)", "each token"]),
    ("q and k of different width", lambda: mg.scaled_dot_product_attention(heads(3, 4), heads(3, 6), heads(3, 6)), ValueError,
     ["width 4", "width 6", "(1, 2, 3, 4)"]),
    ("heads that do not divide", lambda: MultiHeadAttention(10, 3), ValueError, ["10", "3", "1, 2, 5, 10"]),
    ("heads that do not divide, GPT", lambda: gpt(num_heads=3), ValueError, ["embedding_dim=8", "num_heads=3"]),
    # Token ids
    ("id out of range", lambda: gpt()([[1, 10]]), IndexError, ["token id 10", "(0, 1)", "0 to 9", "tokenizer"]),
    ("negative id", lambda: gpt()([[-1, 3]]), IndexError, ["token id -1", "(0, 0)", "0 to 9"]),
    ("negative id, embedding", lambda: nn.Embedding(10, 4)([[-1]]), IndexError, ["token id -1", "negative", "0 to 9"]),
    ("float ids", lambda: gpt()(np.array([[1.0, 2.0]])), TypeError, ["integers", "float64", "tokenizer"]),
    ("1-D ids", lambda: gpt()([1, 2, 3]), ValueError, ["(batch, length)", "(3,)", "ids[None, :]"]),
    ("no tokens", lambda: gpt()(np.zeros((1, 0), int)), ValueError, ["no tokens", "(1, 0)"]),
    ("context exceeded", lambda: gpt()(np.zeros((1, 9), int)), ValueError, ["9 tokens", "context of 8", "ids[:, -8:]", "context_length"]),
    ("context exceeded, Transformer", lambda: Transformer(10, 8, 2, 1, max_length=4)(np.zeros((1, 5), int)), ValueError,
     ["5 tokens", "4", "ids[:, -4:]"]),
    # Gradients
    ("backward twice", backward_twice, RuntimeError, ["freed", "retain_graph=True"]),
    ("backward of many numbers", lambda: (leaf(2, 3) * 2.0).backward(), RuntimeError, ["(2, 3)", "sum().backward()", "backward(gradient)"]),
    ("upstream of another shape", lambda: (leaf(2, 3) * 2.0).backward(np.ones(3)), ValueError, ["(3,)", "expected (2, 3)"]),
    ("backward without grad", lambda: Tensor(X).sum().backward(), RuntimeError, ["does not require grad", "requires_grad=True"]),
    ("in-place change of a leaf", write_into_leaf, RuntimeError, ["in-place", "(3,)", "no_grad()"]),
    ("in-place change of a result", write_into_result, RuntimeError, ["in-place", "multiply", "(3,)", "where"]),
    ("in-place change of what was read", write_after_it_was_read, RuntimeError, ["in place", "multiply", "(3,)", "copy"]),
    ("in-place write of a gradient", write_a_gradient_away, RuntimeError, ["drop its gradient", "where", "concatenate"]),
    ("integers that require grad", lambda: Tensor([1, 2], requires_grad=True), TypeError, ["int64", "dtype=np.float64", "1.0"]),
    ("words in a Tensor", lambda: Tensor(["a", "b"]), TypeError, ["real numbers", "'a'"]),
    ("numpy without derivative", lambda: np.linalg.qr(leaf(2, 2)), TypeError, ["np.linalg.qr", "no derivative", "t.data"]),
    ("numpy with out=", lambda: np.exp(leaf(2), out=np.zeros(2)), TypeError, ["np.exp", "out=", "drop the gradient"]),
    ("cache with gradients", cached_in_training, RuntimeError, ["KVCache", "no_grad()"]),
    ("truth of many", lambda: bool(leaf(3)), ValueError, ["(3,)", "ambiguous", ".all()"]),
    ("item of many", lambda: leaf(3).item(), ValueError, ["(3,)", "3 numbers"]),
    # Loss, dropout
    ("target out of range", lambda: mg.cross_entropy(X, [0, 3]), IndexError, ["3", "0 to 2"]),
    ("negative target", lambda: mg.cross_entropy(X, [0, -1]), IndexError, ["-1", "0 to 2", "ignore_index=-1"]),
    ("targets of another shape", lambda: mg.cross_entropy(X, [0, 1, 2]), ValueError, ["(2, 3)", "(2,)", "(3,)"]),
    ("float targets", lambda: mg.cross_entropy(X, [0.5, 1.0]), TypeError, ["integers", "float64"]),
    ("label smoothing", lambda: mg.cross_entropy(X, [0, 1], label_smoothing=2), ValueError, ["label_smoothing 2", "0 to 1"]),
    ("all dropped", lambda: nn.Dropout(1.0), ValueError, ["p=1.0", "up to, but not including, 1"]),
    # Names
    ("typo on a Tensor", lambda: leaf(3).reshpe(3), AttributeError, ["'reshpe'", "did you mean 'reshape'"]),
    ("torch's name", lambda: leaf(3).unsqueeze(0), AttributeError, ["'unsqueeze'", "squeeze"]),
    ("typo on a module", lambda: nn.Linear(2, 3).weigth, AttributeError, ["'weigth'", "did you mean 'weight'"]),
    ("unknown positions", lambda: gpt(positions="rope"), ValueError, ["positions='rope'", "rotary", "alibi"]),
    ("unknown norm", lambda: gpt(norm="batch"), ValueError, ["norm='batch'", "layer", "rms"]),
    ("unknown ffn", lambda: gpt(ffn="tanh"), ValueError, ["ffn='tanh'", "gelu", "swiglu"]),
    ("no layers", lambda: gpt(num_layers=0), ValueError, ["num_layers=0", "positive"]),
    ("state of another size", state_of_another, ValueError, ["(10, 16)", "expects (10, 8)", "token_embedding.weight"]),
    ("state with other names", state_without_name, ValueError, ["missing: norm.weight", "unknown: typo"]),
    # Optimizers
    ("optimizer of nothing", lambda: optim.SGD([], 0.1), ValueError, ["no parameters", "model.parameters()"]),
    ("parameter twice", lambda: optim.SGD([P, P], 0.1), ValueError, ["twice", "model.parameters()"]),
    ("not a parameter", lambda: optim.AdamW([Tensor(X)], 0.1), TypeError, ["require grad", "Tensor"]),
    ("negative rate", lambda: optim.AdamW([P], -0.1), ValueError, ["lr=-0.1", "≥ 0"]),
    ("one tensor for a list", lambda: optim.SGD(P, 0.1), TypeError, ["SGD", "one Tensor (3,)", "[w]"]),
    ("a model for its parameters", lambda: optim.AdamW(gpt()), TypeError, ["AdamW", "GPT", "model.parameters()"]),
    ("named parameters", lambda: optim.AdamW(dict(gpt().named_parameters())), TypeError, ["dict", "model.parameters()"]),
    ("result for a leaf", lambda: optim.SGD([P * 2.0], 0.1), ValueError, ["(3,)", "result of multiply", "leaves"]),
    ("schedule for a rate", lambda: optim.AdamW([P], optim.constant(0.1)), TypeError, ["lr is a function", "optimizer.lr = schedule(step)"]),
    ("text for a rate", lambda: optim.AdamW([P], "0.1"), ValueError, ["lr='0.1'", "≥ 0"]),
    ("rate that is no number", lambda: optim.SGD([P], float("nan")), ValueError, ["lr=nan", "≥ 0"]),
    ("negative eps", lambda: optim.AdamW([P], eps=-1.0), ValueError, ["eps=-1.0", "1e-8"]),
    ("one beta", lambda: optim.AdamW([P], betas=(0.9,)), ValueError, ["betas=(0.9,)", "two numbers"]),
    ("a number for betas", lambda: optim.AdamW([P], betas=0.9), ValueError, ["betas=0.9", "two numbers"]),
    ("all frozen", lambda: optim.SGD(frozen(), 0.1), ValueError, ["all 20 parameters are frozen", "requires_grad"]),
    ("clip to less than nothing", lambda: optim.clip_grad_norm([P], -1), ValueError, ["max_norm=-1", "above 0"]),
    ("clip to nan", lambda: optim.clip_grad_norm([P], float("nan")), ValueError, ["max_norm=nan", "above 0"]),
    ("state by its file name", lambda: gpt().load_state_dict("best.npz"), TypeError, ["'best.npz'", "load('best.npz')"]),
    ("optimizer's state by its file name", lambda: optim.SGD([P], 0.1).load_state_dict("o.npz"), TypeError, ["'o.npz'", "load('o.npz')"]),
    ("schedule with a rate of nan", lambda: optim.warmup_cosine(float("nan"), 1, 2), ValueError, ["max_lr=nan", "≥ 0"]),
    # What nobody would train
    *((f"layers in a {kind.__name__}", lambda kind=kind: PlainList(kind).parameters(), TypeError,
       ["PlainList.layers", f"a Linear in a plain {kind.__name__}", "nn.ModuleList"]) for kind in (list, tuple, dict, set)),
    ("parameters in a list", lambda: ParameterList().state_dict(), TypeError, ["ParameterList.biases", "Parameter in a plain list", "attribute"]),
    ("a tensor for a parameter", lambda: PlainTensor().parameters(), TypeError, ["PlainTensor.w", "neither trained nor saved", "nn.Parameter"]),
    ("a copy that is cut off", lambda: Tensor(P * 2.0, requires_grad=True), TypeError, ["result of multiply", "cut off", "t.data"]),
    ("a parameter that is cut off", lambda: nn.Parameter(P * 2.0), TypeError, ["result of multiply", "cut off"]),
    ("float mask of zeros and ones", lambda: mg.scaled_dot_product_attention(heads(4), heads(4), heads(4), np.tril(np.ones((4, 4)))), ValueError,
     ["(4, 4)", "zeros and ones", "mask.astype(bool)"]),
    ("float mask of zeros and ones, layer", lambda: MultiHeadAttention(4, 2)(np.ones((1, 4, 4)), mask=np.tril(np.ones((4, 4)))), ValueError,
     ["zeros and ones", "astype(bool)"]),
    ("no parentheses", no_parentheses, TypeError, ["no_grad", "with no_grad():"]),
    ("arrays without their list", lambda: mg.concatenate(leaf(3), leaf(3)), TypeError, ["axis is a Tensor of shape (3,)", "concatenate([a, b])"]),
    ("arrays without their list, stack", lambda: mg.stack(X, X), TypeError, ["(2, 3)", "stack([a, b])"]),
    ("text for a size", lambda: gpt(vocab_size="10"), ValueError, ["vocab_size='10'", "whole number"]),
    ("half a layer", lambda: Transformer(10, 8, 2, 1.5), ValueError, ["num_layers=1.5", "whole number"]),
    ("eps that is no number", lambda: LayerNorm(4, eps=float("nan")), ValueError, ["eps=nan", "1e-5"]),
    # Generation
    ("half a token", lambda: generate(gpt(), [1], 3.5), ValueError, ["max_new_tokens=3.5", "whole number"]),
    ("top_k of a float", lambda: generate(gpt(), [1], 3, top_k=2.0), ValueError, ["top_k=2.0", "whole number"]),
    ("half a beam", lambda: beam_search(gpt(), [1], 3, 1.5), ValueError, ["num_beams=1.5", "whole number"]),
    ("empty prompt", lambda: generate(gpt(), [], 3), ValueError, ["at least one token", "(0,)"]),
    ("text as prompt", lambda: generate(gpt(), "hello", 3), TypeError, ["integer token ids", "tokenizer"]),
    ("temperature", lambda: generate(gpt(), [1], 3, temperature=-1.0), ValueError, ["temperature=-1.0", "greedy"]),
    ("top_p", lambda: generate(gpt(), [1], 3, top_p=0), ValueError, ["top_p=0", "above 0"]),
    ("top_k", lambda: generate(gpt(), [1], 3, top_k=0), ValueError, ["top_k=0", "1 or more", "None"]),
    ("prompt out of range", lambda: generate(gpt(), [99], 3), IndexError, ["token id 99", "0 to 9"]),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "kind", "words"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_the_message_has_the_values_and_the_cure(mistake: Callable[[], object], kind: type[Exception], words: list[str]) -> None:
    with pytest.raises(kind) as caught:
        mistake()
    message = str(caught.value)
    assert type(caught.value) is kind, type(caught.value)
    for word in words:
        assert word in message, (word, message)
    assert "\n" not in message.strip(), message


def test_there_are_thirty() -> None:
    assert len({row[0] for row in MISTAKES}) == len(MISTAKES) >= 30


def test_generation_in_training_mode_warns() -> None:
    model = gpt(dropout=0.5)
    with pytest.warns(UserWarning, match=r"training mode.*model\.eval\(\)"):
        generate(model, [1], 3)
    assert model.training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(gpt(), [1], 3)
        generate(model.eval(), [1], 3)


COMMANDS: list[tuple[str, list[str], list[str]]] = [
    ("unknown command", ["trian"], ["trian", "--help"]),
    ("unknown option", ["train", "--layer-count", "3"], ["--layer-count", "--help"]),
    ("no number", ["train", "--layers", "two"], ["--layers", "two"]),
    ("no layers", ["train", "--layers", "0"], ["--layers", "0", "1 or more"]),
    ("no steps", ["train", "--steps", "0"], ["steps=0", "1 or more"]),
    ("heads", ["train", "--text", "TEXT", "--width", "10", "--heads", "3"], ["10", "3"]),
    ("kv heads", ["train", "--text", "TEXT", "--heads", "4", "--kv-heads", "3"], ["4", "3"]),
    ("dropout", ["train", "--text", "TEXT", "--dropout", "1"], ["p=1.0", "not including"]),
    ("learning rate", ["train", "--text", "TEXT", "--lr", "-1"], ["lr=-1.0", "positive"]),
    ("rate that is no number", ["train", "--lr", "nan"], ["lr=nan", "expected a number"]),
    ("lowest rate", ["train", "--min-lr", "-1"], ["min_lr=-1.0", "0 or more"]),
    ("warm-up", ["train", "--warmup", "-5"], ["warmup=-5", "0 or more"]),
    ("smoothing", ["train", "--label-smoothing", "2"], ["label_smoothing=2.0", "0 to 1"]),
    ("sample", ["train", "--sample-tokens", "-3"], ["sample_tokens=-3", "0 or more"]),
    ("betas", ["train", "--text", "TEXT", "--beta1", "2"], ["betas=(2.0, 0.99)", "not including, 1"]),
    ("positions", ["train", "--positions", "rope"], ["rope", "rotary"]),
    ("seed", ["train", "--text", "TEXT", "--context", "4", "--seed", "-1"], ["seed=-1", "0 or more"]),
    ("rotary on odd heads", ["train", "--text", "TEXT", "--width", "6", "--heads", "2", "--positions", "rotary"], ["3", "odd", "pairs"]),
    ("resume without a folder", ["train", "--resume"], ["--resume", "--out"]),
    ("no text", ["train", "--text", "NOTHING"], ["NOTHING"]),
    ("no folder to generate", ["generate", "NOTHING"], ["NOTHING", "no such run folder", "train --out"]),
    ("no folder to evaluate", ["evaluate", "NOTHING"], ["NOTHING", "no such run folder", "train --out"]),
    ("a folder that is no run", ["evaluate", "."], ["config.json", "not a run folder"]),
    ("unknown op", ["check", "--op", "sofmax"], ["sofmax"]),
]


@pytest.mark.parametrize(("command", "words"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
def test_the_command_line_says_it_in_one_line(
    command: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TEXT").write_text("to be or not to be; " * 100)
    try:
        status = main(command)
    except SystemExit as stop:
        status = stop.code
    errors = capsys.readouterr().err
    assert status == 2
    assert errors.count("\n") == 1 and "Traceback" not in errors, errors
    for word in words:
        assert word in errors, (word, errors)
    assert [p.name for p in tmp_path.iterdir()] == ["TEXT"]


def test_a_forgotten_zero_grad_warns() -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = optim.SGD(layer.parameters(), 0.1)
    layer(np.ones((1, 2))).sum().backward()
    layer(np.ones((1, 2))).sum().backward()  # gradients of two batches, added on purpose: no warning before a step
    optimizer.step()
    with pytest.warns(UserWarning, match=r"used already.*optimizer\.zero_grad\(\)"):
        layer(np.ones((1, 2))).sum().backward()
