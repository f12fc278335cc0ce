"""Zero-shot classification: labels in prompt templates, averaged, compared with pictures.

Source: CLIP (Radford et al. 2021), section 3.1.4: an ensemble over prompts is built in the space of
embeddings, so it costs nothing once the labels are embedded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosslens.arguments import brief
from crosslens.encode import normalise
from crosslens.errors import InputError, MissingExtraError
from crosslens.types import Float32

# The seven that CLIP's authors found to do nearly what all eighty do.
TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "an origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def prompts(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every label in every template, label by label.

    Raises InputError for a label that is empty, and for a template without "{}".
    """
    if not labels:
        raise InputError("there are no labels", "Give at least one")
    if not templates:
        raise InputError("there are no templates", 'Give at least one, such as "a photo of a {}."')
    for row, label in enumerate(labels):
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"label {row} is {brief(label)}", "Give each a text that is not empty")
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            problem = f'template {brief(template)} has no "{{}}" for the label'
            raise InputError(problem, 'Write "a photo of a {}."')
    return [template.replace("{}", label) for label in labels for template in templates]


def ensemble(vectors: Float32, templates: int) -> Float32:
    """Unit vectors (labels · templates, d), label by label → unit means (labels, d)."""
    means, _ = normalise(vectors.reshape(-1, templates, vectors.shape[1]).mean(axis=1))
    return means


def assign(similarities: Float32) -> tuple[list[int], list[int]]:
    """The one-to-one assignment of rows to columns with the greatest sum: (rows, their columns).

    similarities: (n, m); min(n, m) pairs come back, by row. Needs SciPy. Raises MissingExtraError.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingExtraError("scipy", "eval") from error
    rows, columns = linear_sum_assignment(np.asarray(similarities, dtype=np.float64), maximize=True)
    return rows.tolist(), columns.tolist()
