"""The tokenizer files of a checkpoint folder, read and written as the transformers library has them.

BERT's is ``vocab.txt``, GPT-2's ``vocab.json`` and ``merges.txt``, and any kind may stand in one ``tokenizer.json``: the way for the
tokenizers that are our own, whose rules can be said in its words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.bpe import BPETokenizer
from ..data.byte_level import CHARACTER, GPT2Tokenizer
from ..data.files import brief
from ..data.tokenizers import CharTokenizer, Tokenizer
from ..data.wordpiece import LONGEST_WORD, SPECIAL, WordPieceTokenizer
from .files import json_text, read_json

TOKENIZER_FILES = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")


def cut_by(regex: str) -> dict[str, Any]:
    """The cutting of a text into all that a pattern matches, in the words of that library."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


SPACE = r"\s\x1c-\x1f"  # Python's white space
CHUNK = (  # that of transformer.data.bpe
    rf" ?[\p{{L}}\p{{Nl}}\p{{No}}]{{1,64}}| ?\p{{Nd}}{{1,3}}| ?[^{SPACE}\p{{L}}\p{{N}}]{{1,64}}|[{SPACE}]{{1,64}}(?![^{SPACE}])|[{SPACE}]{{1,64}}"
)
EACH_CHARACTER = cut_by(r"[\s\S]")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
OUR_CHUNKS = {"type": "Sequence", "pretokenizers": [cut_by(CHUNK), BYTE_LEVEL]}


def read_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer in a checkpoint folder; FileNotFoundError when there is none, ValueError for a damaged file or an unknown kind."""
    folder = Path(folder)
    if (folder / "vocab.txt").is_file():
        return WordPieceTokenizer.from_file(folder / "vocab.txt", **_options(folder))
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return GPT2Tokenizer.from_files(folder / "vocab.json", folder / "merges.txt")
    if (file := folder / "tokenizer.json").is_file():
        try:
            return _from_json(read_json(file), _options(folder))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            if str(folder) in str(error):
                raise
            if isinstance(error, ValueError):
                raise ValueError(f"{file}: {brief(error, 600)}") from error
            raise ValueError(f"{file}: damaged, or not a tokenizer of the transformers library ({brief(repr(error))})") from error
    raise FileNotFoundError(f"{folder}: no tokenizer; expected vocab.txt, vocab.json with merges.txt, or tokenizer.json")


def _options(folder: Path) -> dict[str, Any]:
    """What stands beside the vocabulary of BERT's tokenizer."""
    options: dict[str, Any] = {}
    if (file := folder / "tokenizer_config.json").is_file():
        config = read_json(file)
        if config.get("tokenize_chinese_chars") is False:
            raise ValueError(f"{file}: tokenize_chinese_chars is false; here CJK characters always stand alone")
        for name in ("do_lower_case", "strip_accents"):
            if not isinstance(config.get(name), bool | None):
                raise ValueError(f"{file}: {name} is {config[name]!r:.80}; expected true, false or null")
        lower = config.get("do_lower_case")
        options = {"lowercase": True if lower is None else lower, "strip_accents": config.get("strip_accents")}
        if isinstance(longest := config.get("model_max_length"), int) and 2 <= longest < 1 << 31:  # 10³⁰ stands for none
            options["max_length"] = longest
    if (file := folder / "sentence_bert_config.json").is_file():
        longest = read_json(file).get("max_seq_length", options.get("max_length", 512))
        if isinstance(longest, bool) or not isinstance(longest, int) or not 2 <= longest < 1 << 31:
            raise ValueError(f"{file}: max_seq_length is {str(longest)[:40]!r}; expected a whole number from 2 on")
        options["max_length"] = longest
    return options


def _from_json(content: Mapping[str, Any], options: dict[str, Any]) -> Tokenizer:
    model, cutting = content["model"], content["pre_tokenizer"]
    if not all(type(i) is int for i in (*model["vocab"].values(), *(added["id"] for added in content["added_tokens"]))):
        raise ValueError("an id in its vocabulary is no whole number")
    tokens = {**model["vocab"], **{added["content"]: added["id"] for added in content["added_tokens"]}}
    in_order = sorted(tokens, key=tokens.__getitem__)
    rules = content["normalizer"] or {}
    usual = {"continuing_subword_prefix": "##", "max_input_chars_per_word": LONGEST_WORD, "clean_text": True, "handle_chinese_chars": True}
    plain = not rules and not model.get("ignore_merges") and not model.get("byte_fallback")
    if model["type"] == "WordPiece" and usual.items() <= {**model, **rules}.items():
        options = {**options, "lowercase": rules["lowercase"], "strip_accents": rules["strip_accents"]}
        if not all(isinstance(value, bool | None) for value in (options["lowercase"], options["strip_accents"])):
            raise ValueError("lowercase or strip_accents is neither true nor false")
        return WordPieceTokenizer(in_order, **options)
    if model["type"] == "WordLevel" and plain and cutting == EACH_CHARACTER:
        return CharTokenizer(in_order)
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", [])]
    if model["type"] == "BPE" and plain and cutting == OUR_CHUNKS:
        return BPETokenizer([(tokens[left], tokens[right]) for left, right in pairs])
    if model["type"] == "BPE" and plain and {**cutting, "trim_offsets": True} == {**BYTE_LEVEL, "trim_offsets": True, "use_regex": True}:
        return GPT2Tokenizer(tokens, pairs, [added["content"] for added in content["added_tokens"]])
    raise ValueError(
        f"a {str(model['type'])[:40]} tokenizer that cuts text by {json.dumps(cutting)[:200]}, with these settings, is not known here; "
        "expected BERT's WordPiece, GPT-2's byte-level BPE, or one of ours"
    )


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, str]:
    """Names and contents of the files with which ``AutoTokenizer.from_pretrained(folder)`` gives the same ids.

    Raises TypeError for a kind of tokenizer that is not known here.
    """
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}  # no segments: a GPT-2 would add token 0 to everything
    config: dict[str, Any]
    if isinstance(tokenizer, WordPieceTokenizer):
        settings = {"do_lower_case": tokenizer.lowercase, "strip_accents": tokenizer.strip_accents, "model_max_length": tokenizer.max_length}
        special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
        config, files = {"tokenizer_class": "BertTokenizer", **settings, **special}, {"vocab.txt": "\n".join(tokenizer.vocabulary) + "\n"}
    elif isinstance(tokenizer, GPT2Tokenizer):
        config, files = {"tokenizer_class": "GPT2Tokenizer", **inputs}, tokenizer.files()
    else:
        config, files = {"tokenizer_class": "PreTrainedTokenizerFast", **inputs}, {"tokenizer.json": json_text(_to_json(tokenizer))}
    return {**files, "tokenizer_config.json": json_text({**config, "clean_up_tokenization_spaces": False})}


def _to_json(tokenizer: Tokenizer) -> dict[str, Any]:
    if isinstance(tokenizer, CharTokenizer):
        model: Any = {"type": "WordLevel", "vocab": {c: i for i, c in enumerate(tokenizer.vocabulary)}, "unk_token": "[UNK]"}
        cutting: Any = EACH_CHARACTER
        decoder: Any = {"type": "Fuse"}
    elif isinstance(tokenizer, BPETokenizer):
        names = ["".join(CHARACTER[byte] for byte in tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)]
        if len(set(names)) < len(names):
            raise ValueError("two merges of this tokenizer make the same token, which the format of the transformers library cannot say")
        pairs = [[names[left], names[right]] for left, right in tokenizer.merges]
        model = {"type": "BPE", "vocab": {name: i for i, name in enumerate(names)}, "merges": pairs}
        cutting, decoder = OUR_CHUNKS, BYTE_LEVEL
    else:
        raise TypeError(f"{type(tokenizer).__name__}: no way to write this tokenizer for the transformers library")
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": cutting, "post_processor": None, "decoder": decoder, "model": model,
    }  # fmt: skip
