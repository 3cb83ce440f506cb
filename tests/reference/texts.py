"""Texts on which tokenizers fall: the fixed ones each for a reason, the random ones for the reasons nobody thought of."""

from __future__ import annotations

import random
import unicodedata

NASTY = [
    "", " ", "   ", "\t\r\n", "a", " a", "a ", "a  b", "a   ", "\n\n x\n \n",
    "Hello, World!", "don't DON'T we'll 'S 's 't 'tis I'm 'm", "state-of-the-art", "U.S.A. v. 3.14", "1,234.56$ +3=~`|^<>", "_foo__bar_",
    "naïve café Ångström", "e\u0301 \u0301 x\u0345", "İstanbul ΣΊΣΥΦΟΣ Straße ǅungla", "ﬁne ﬂour ① ² ½ Ⅷ ªº",
    "中文字符and日本語テキスト한국어", "עברית العربية हिन्दी ไทย", "١٢٣ १२३ 一二三",
    "😀👩‍👩‍👧🏽🇫🇷 🫠", "𝓗𝓮𝓵𝓵𝓸 𝟙𝟚", "zero\u200bwidth\ufeff nul\x00bel\x07 bad\ufffd",
    "\x1ca\x1d b\x1e\x1f c\x7f", "nel\x85nbsp\xa0ls\u2028ps\u2029wide\u3000",
    "[CLS] a[SEP]b [MASK] [mask] [PAD][UNK]", "<|endoftext|>", "a<|endoftext|> b<|endoftext",
    "##ing # #hashtag", "\\n \\u00e9 \"quoted\" ‘curly’ “double” «angle»",
    "x" * 99, "x" * 100, "x" * 101, "ab" * 300, "a b " * 200, "!" * 200, " " * 150 + "x", "1" * 70,
]  # fmt: skip
POOL = "aàâåBcÇ dİß ς Σ中日한\u0301\u200d😀!?.,-_'\"#[]()$ \t\n\u00a0ﬁ0१ 9²½\x00\x1f\u2028\u3000strevmldSTREVMLD''   \n"

SENTENCES = [
    "Grandma is cooking soup.", "The waiter brings a plate of noodles.", "A father rocks the cradle.", "She rides her bicycle to work.",
    "A boy practises the piano.", "Two hikers got lost in the forest.", "The cat sleeps on the sofa.",
    "The chef prepared a delicious meal for the guests.", "Someone is having lunch.", "The stock market fell sharply on Monday.",
    "Shares lost a tenth of their value.", "How do I reset my password?", "I forgot my login details.", "The weather is lovely today.",
    "It is sunny outside.", "He drove his car to the stadium.", "Der Himmel ist blau.", "Le ciel est bleu.", "El cielo es azul.", "天空是蓝色的。",
    "空は青いです。", "하늘은 파랗다.", "Небо голубое.", "السماء زرقاء", "השמיים כחולים",
    "आसमान नीला है।", "ท้องฟ้าเป็นสีฟ้า", "Ο ουρανός είναι γαλάζιος.",
    "naïve café, jalapeño, Ångström, façade", "I ❤️ 🍕 and 👩‍👩‍👧",
    "E = mc²; ∑ αᵢ ≠ ∞", "∀x∈ℝ: x² ≥ 0", "C++ > C# && Rust != Go", "import numpy as np",
    "https://example.org/path?q=1&r=2#top", "user.name+tag@example.org",
    "1,234,567.89 USD", "2024-02-29T23:59:59Z", "ALL CAPS SHOUTING!!!", "lower case whisper",
    "no", "?", "...", "\u200b", "\u00a0", "   leading and trailing   ",
    "tabs\tand\nnewlines\r\nin it", "[MASK] me if you can [SEP]", "##ing", "ﬁne ligatures ﬂow",
    "Supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 120, "word " * 300, "long text, many tokens; " * 90,
    "", " ", "\n", "\x00\x01\x02", "\ufffd\ufffd",
]  # fmt: skip


def nasty(seed: int, count: int) -> list[str]:
    """The fixed texts, then random ones: of the pool, and of blocks that were there before Unicode 8, whose tables some libraries have.

    Code points that no character has are left out: versions of the tokenizers library differ on whether they are control characters.
    """
    rng = random.Random(seed)
    spans = [range(0x250), range(0x370, 0x530), range(0x3040, 0x3100), range(0x4E00, 0x9FA0), range(0xAC00, 0xD7A0), range(0x1F600, 0x1F640)]
    mixed = ["".join(rng.choice(POOL) for _ in range(rng.randrange(60))) for _ in range(count)]
    blocks = [[c for c in map(chr, span) if unicodedata.category(c) != "Cn"] for span in spans]
    wide = ["".join(rng.choice(rng.choice(blocks)) for _ in range(rng.randrange(30))) for _ in range(count)]
    return NASTY + mixed + wide


def hundred_sentences() -> list[str]:
    """Sentences of many languages and lengths, empty ones among them, and pairs of them, 100 in all."""
    pairs = [f"{a} {b}" for a, b in zip(SENTENCES, SENTENCES[7:], strict=False)]
    return (SENTENCES + pairs)[:100]
