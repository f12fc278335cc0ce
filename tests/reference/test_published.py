"""OpenAI's own figures, by OpenAI's own weights: only where both are on this machine.

Needs the model pulled (crosslens models pull clip-vit-base-patch32), and the picture of OpenAI's README,
CLIP.png; CROSSLENS_CLIP_PNG is where it lies: pytest -m trained tests/reference
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crosslens import Matcher

MODEL = "clip-vit-base-patch32"
PUBLISHED = {"a diagram": 0.9927937, "a dog": 0.00421068, "a cat": 0.00299572}


@pytest.fixture
def trained() -> Path:
    """The folder of the pulled model in the home of who runs the tests, not in the tests' own."""
    home = Path(os.environ.get("CROSSLENS_MODELS", Path("~/.local/share/crosslens/models").expanduser()))
    if not (home / MODEL).is_dir() or "CROSSLENS_CLIP_PNG" not in os.environ:
        pytest.skip(f"needs {MODEL} in CROSSLENS_MODELS, and CROSSLENS_CLIP_PNG")
    return home / MODEL


@pytest.mark.trained
def test_vit_b_32_gives_the_confidences_that_openai_published(trained: Path) -> None:
    matcher = Matcher(trained, precision="f32", decode="exact")
    ranked = matcher.rank(os.environ["CROSSLENS_CLIP_PNG"], list(PUBLISHED))
    assert [label.text for label in ranked] == list(PUBLISHED)
    for label in ranked:
        assert label.confidence == pytest.approx(PUBLISHED[label.text], abs=0.002)
