"""Bias of language models: measured, reduced, and what that costs.

``measure``, ``stereotypes`` and ``association`` ask a model, ``statistics`` says how sure the answer is; ``corpus`` is a language whose bias is
known, ``swap`` and ``terms`` make the counterfactual of real text; ``reduce`` has the cures, ``experiment`` and ``results`` what they do.
"""

from .association import weat
from .measure import counterfactual_gap, generation_shares, pronoun_gap
from .reduce import CounterfactualPenalty, augmented, balanced_weights, project_out, running_pairs
from .scoring import LanguageModel
from .stereotypes import crows_score, stereoset_score
from .swap import counterfactual, counterfactual_pairs

__all__ = [
    "CounterfactualPenalty", "LanguageModel", "augmented", "balanced_weights", "counterfactual", "counterfactual_gap", "counterfactual_pairs",
    "crows_score", "generation_shares", "project_out", "pronoun_gap", "running_pairs", "stereoset_score", "weat",
]  # fmt: skip
