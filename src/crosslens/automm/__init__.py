"""AutoMM's names over the same parts, for developers who come from AutoGluon's MultiModalPredictor.

docs/automm.md maps the names and lists what differs, and why. Importing this imports no torch; `fit` does.
"""

from crosslens.automm.hyperparameters import PRESETS
from crosslens.automm.predictor import MultiModalPredictor
from crosslens.matching.semantic_search import semantic_search

__all__ = ["PRESETS", "MultiModalPredictor", "semantic_search"]
