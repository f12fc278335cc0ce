"""crosslens: pictures and words, matched by meaning.

from crosslens import Library, Matcher

Matcher().rank("photo.jpg", ["a dog", "a cat"])

library = Library.open("my-library")
library.index("Pictures")
library.search("a dog on the beach")
"""

from crosslens.errors import (
    BundleError,
    CrosslensError,
    CrosslensWarning,
    ImageError,
    InputError,
    LibraryError,
    ModelError,
    UnknownModelError,
)
from crosslens.images.decode import Limits
from crosslens.library.library import Library
from crosslens.matching.match_probability import softmax_confidence
from crosslens.matching.matcher import Matcher
from crosslens.matching.semantic_search import semantic_search
from crosslens.types import Failure, Hit, IndexReport, Label, LibraryStats, Progress

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "CrosslensError",
    "CrosslensWarning",
    "Failure",
    "Hit",
    "ImageError",
    "IndexReport",
    "InputError",
    "Label",
    "Library",
    "LibraryError",
    "LibraryStats",
    "Limits",
    "Matcher",
    "ModelError",
    "Progress",
    "UnknownModelError",
    "semantic_search",
    "softmax_confidence",
]
