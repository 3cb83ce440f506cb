"""The interactive prompt, over a pipe and in a terminal."""

import io
import re
import sys

import numpy as np
import pytest
from small_models import Table, certain, tiny

from transformer import BPETokenizer, CharTokenizer, generate
from transformer.cli.interactive import HELP, Session, text_steps
from transformer.decoding.sampling import Sampling, softmax

LETTERS = CharTokenizer("abcdefg")


def talk(text, model=None, tokenizer=LETTERS, **options):
    """What the session answers to these lines."""
    output = io.StringIO()
    session = Session(model or tiny(), tokenizer, source=io.StringIO(text), output=output, **{"tokens": 12, "seed": 0, **options})
    assert session.run() == 0
    return output.getvalue()


def test_a_line_is_continued_as_generate_would():
    expected = generate(tiny(), LETTERS.encode("abc"), 12, rng=0)
    assert talk("abc\n") == LETTERS.decode(expected) + "\n"


def test_an_empty_line_lets_it_write_on_from_all_that_was_written():
    cycle = certain(1, 2, 3, 4, 5, 6, 0)
    assert talk("a\n\n", cycle, tokens=4) == "abcde\nfgab\n"
    assert "Write the beginning" in talk("\n")


def test_again_writes_another_continuation_of_the_same_text():
    first, second = talk("abc\n:again\n").splitlines()
    assert first[:3] == second[:3] == "abc" and first != second
    assert "nothing has been written yet" in talk(":again\n")


def test_the_pieces_are_written_out_one_by_one_as_they_are_drawn():
    class Pipe(io.StringIO):
        flushed: list = []

        def flush(self):
            self.flushed.append(self.getvalue())

    pipe = Pipe()
    Session(certain(1, 2, 0), LETTERS, tokens=3, source=io.StringIO("a\n"), output=pipe).run()
    assert pipe.flushed[:3] == ["ab", "abc", "abca"]


def test_why_shows_the_probabilities_that_the_token_was_chosen_from():
    model = Table(np.log(np.tile([0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02], (7, 1))), 20)
    shown = talk(":set top-k 2\na\n:why 3\n", model, tokens=5).splitlines()
    at = next(i for i, line in enumerate(shown) if line.startswith("token 3: "))
    text = next(line for line in shown if line.startswith("a"))
    assert shown[at].startswith(f"token 3: {text[3]!r} after …{text[:3]}")
    rows = [re.fullmatch(r" *(\d+)\. +([\d.]+) % +([\d.]+ %|out) +(#*) +'(.)'(  <- chosen)?", line) for line in shown[at + 2 : at + 9]]
    expected = [("1", "50.0", "71.4 %", "a"), ("2", "20.0", "28.6 %", "b"), ("3", "10.0", "out", "c")]
    assert [(row[1], row[2], row[3], row[5]) for row in rows[:3]] == expected
    assert [row[5] for row in rows if row[6]] == [text[3]]
    assert len(rows[0][4]) == 14  # twenty signs are a hundred percent
    entropy = -(lambda p: (p * np.log2(p)).sum())(softmax(model.logits[:1])[0])
    assert f"(entropy {entropy:.1f} bits)" in shown[at]


def test_why_shows_the_chosen_token_even_when_it_is_none_of_the_likeliest():
    letters = CharTokenizer("abcdefghijklmnop")
    model = Table(np.tile(np.linspace(3, 0, 16), (16, 1)), 20)
    shown = talk("a\n:why 1 10\n", model, letters, tokens=60, seed=1)
    blocks = shown.split("token ")[1:]
    assert all(block.count("<- chosen") == 1 for block in blocks)
    assert any(len(block.splitlines()) == 11 for block in blocks)  # head, titles, eight candidates, and the chosen one


def test_why_takes_the_last_token_a_number_a_range_or_a_piece_of_the_text():
    cycle = certain(1, 2, 3, 4, 5, 6, 0)
    def tokens(order):
        return re.findall(r"token (\d+): '(.)'", talk(f"a\n{order}\n", cycle, tokens=9))

    assert tokens(":why") == [("9", "c")]
    assert tokens(":why 2") == [("2", "c")]
    assert tokens(":why 2 4") == [("2", "c"), ("3", "d"), ("4", "e")]
    assert tokens(":why def") == [("3", "d"), ("4", "e"), ("5", "f")]
    assert "not found" in talk("a\n:why xyz\n", cycle)
    for wrong in ("0", "99", "3 2"):
        assert "expected numbers from 1 to 12" in talk(f"a\n:why {wrong}\n", cycle)
    assert "nothing has been written yet" in talk(":why\n")


def test_a_long_range_is_shown_ten_at_a_time():
    shown = talk("a\n:why 1 25\n", tokens=30)
    assert len(re.findall("^token ", shown, re.M)) == 10 and ":why 11 25 shows the rest" in shown


def test_tokens_are_numbered_as_why_counts_them():
    shown = talk("a\n:tokens\n", certain(1, 2, 3, 4, 5, 6, 0), tokens=3)
    assert shown.splitlines()[1].split("  ") == ["1 'b'", "2 'c'", "3 'd'"]


def test_the_strategy_changes_on_the_fly():
    model = tiny()
    shown = talk(":set temperature 0\nabc\n:set temperature=off\n:set top_k 3\n:set repetition-penalty 1.5\n:set tokens 4\nabc\n", model).splitlines()
    assert shown[0] == "greedy; 12 tokens at a time"
    assert shown[1] == LETTERS.decode(generate(model, LETTERS.encode("abc"), 12, temperature=0))
    assert shown[2:6] == [
        "sampling; 12 tokens at a time",
        "sampling, top-k 3; 12 tokens at a time",
        "sampling, top-k 3, repetition penalty 1.5; 12 tokens at a time",
        "sampling, top-k 3, repetition penalty 1.5; 4 tokens at a time",
    ]
    assert len(shown[6]) == 7


def test_the_seed_makes_a_text_come_again():
    a, b = (line for line in talk(":set seed 7\nabc\n:set seed 7\nabc\n").splitlines() if line.startswith("abc"))
    assert a == b


def test_it_ends_at_a_stop_text_wherever_the_tokens_are_cut():
    cycle = certain(1, 2, 3, 4, 5, 6, 0)
    assert talk(":set stop cd\na\n", cycle).splitlines() == ['sampling; 12 tokens at a time, up to "cd"', "abcd"]
    assert talk(':set stop "g"\na\n:set stop off\na\n', cycle).splitlines()[1::2] == ["abcdefg", "abcdefgabcdef"]
    bpe = BPETokenizer([(97, 98), (99, 100), (256, 257)])  # ab, cd, abcd
    model = Table(np.where(np.arange(259) == 258, 50.0, -50.0) * np.ones((259, 1)), 20)
    pieces = [piece for _, piece in text_steps(model, bpe, np.array([97]), 5, Sampling(), 0, stop="da")]
    assert pieces == ["abcd", "a"]  # the stop lies across two tokens, in the middle of the second


def test_half_a_character_is_shown_when_it_is_whole():
    euro = "€".encode()
    bpe = BPETokenizer([])
    logits = np.full((256, 256), -50.0)
    for a, b in zip(euro, [*euro[1:], 65], strict=True):
        logits[a, b] = 50.0
    logits[65, euro[0]] = 50.0
    assert talk("A\n", Table(logits, 20), bpe, tokens=5) == "A€A\ufffd\n"
    assert "expected numbers from 1 to 5" in talk("A\n:why 9\n", Table(logits, 20), bpe, tokens=5)  # the lone byte at the end counts once


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (":set temperature warm", "expected a number"),
        (":set temperature -1", "temperature=-1"),
        (":set top-k 2.5", "expected a whole number"),
        (":set top-p 0", "top_p=0"),
        (":set tokens 0", "expected 1 or more"),
        (":set warmth 3", "no such setting; there are temperature, top-k"),
        (':set stop "a', "expected text, or text in quotes"),
        (":set seed -1", ":set seed -1: expected 0 or more"),
        (":wy", "no command :wy; there are :why"),
        ("xyz", "cannot encode 'x'"),
        ("::", "cannot encode ':'"),
    ],
)
def test_a_mistake_is_answered_in_a_line_and_changes_nothing(line, words):
    shown = talk(f"{line}\n:set\n").splitlines()
    assert len(shown) == 2 and words in shown[0]
    assert shown[1] == "sampling; 12 tokens at a time"


def test_help_names_every_command_and_quit_ends_before_the_next_line():
    assert talk(":help\n") == HELP + "\n"
    for word in (":why", ":tokens", ":set", ":again", ":help", ":quit", "::text"):
        assert word in HELP
    assert talk(":quit\nabc\n") == ""


def test_ctrl_c_ends_the_text_and_not_the_session():
    class Tired(Table):
        def forward(self, ids, cache=None, attention_mask=None):
            if np.asarray(ids)[0, -1] == 3:  # a model that looks at its numbers, so that no program is made of it
                raise KeyboardInterrupt
            return super().forward(ids)

    lines = iter(["a", ":why", ":quit"])
    output = io.StringIO()
    session = Session(Tired(certain(1, 2, 3, 0).logits), LETTERS, tokens=9, source=io.StringIO(), output=output)
    session.terminal, session.typed = True, lambda: next(lines)
    session.run()
    assert "abcd\n\n(stopped)\ntoken 3: 'd'" in output.getvalue()


@pytest.mark.slow
def test_the_command_line_talks_over_a_pipe(tmp_path, monkeypatch, capsys):
    from transformer.cli import main

    text = tmp_path / "t.txt"
    text.write_text("abcdefg " * 60, encoding="utf-8")
    shape = ["--layers", "1", "--heads", "1", "--width", "8", "--context", "8", "--steps", "2", "--sample-tokens", "1"]
    assert main(["train", "--text", str(text), "--out", str(tmp_path / "run"), *shape]) == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("abc\n:why\n"))
    assert main(["generate", str(tmp_path / "run"), "--interactive", "--tokens", "5", "--seed", "1", "--temperature", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("abc") and "token 5: " in shown and shown.count("<- chosen") == 1
    assert main(["generate", str(tmp_path / "run"), "--interactive", "--beams", "3"]) == 2
    assert main(["generate", str(tmp_path / "run"), "--prompt", "a", "--tokens", "50", "--seed", "0", "--stop", "c"]) == 0
    assert re.fullmatch("a[^c]*c?\n", capsys.readouterr().out)
