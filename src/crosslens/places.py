"""Where crosslens keeps things for a user, by the customs of each system."""

from __future__ import annotations

from pathlib import Path

import platformdirs

APP = "crosslens"


def default_library() -> Path:
    """The library used when none is named: in the user's data folder."""
    return platformdirs.user_data_path(APP, appauthor=False) / "library"


def model_cache() -> Path:
    """Compiled graphs; may be deleted at any time."""
    return platformdirs.user_cache_path(APP, appauthor=False) / "openvino"


def calibration(identity: str) -> Path:
    """The match calibration that a user fitted for a model."""
    return platformdirs.user_data_path(APP, appauthor=False) / "calibration" / f"{identity}.json"


def notices() -> Path:
    """One empty file for each notice that was shown and need not be shown again."""
    return platformdirs.user_state_path(APP, appauthor=False) / "notices"
