"""The user's folders for models, libraries, caches and settings, by the customs of each system."""

from __future__ import annotations

from pathlib import Path

import platformdirs

APP = "crosslens"


def default_library() -> Path:
    """The library used when none is named: in the user's data folder."""
    return platformdirs.user_data_path(APP, appauthor=False) / "library"


def libraries() -> Path:
    """One library folder for each that clients of the service made."""
    return platformdirs.user_data_path(APP, appauthor=False) / "libraries"


def keys() -> Path:
    """The API keys of the service."""
    return platformdirs.user_config_path(APP, appauthor=False) / "keys.json"


def model_cache() -> Path:
    """Compiled graphs; may be deleted at any time."""
    return platformdirs.user_cache_path(APP, appauthor=False) / "openvino"


def models() -> Path:
    """One bundle folder for each model that was pulled."""
    return platformdirs.user_data_path(APP, appauthor=False) / "models"


def quantised(identity: str) -> Path:
    """The int8 image tower that a user made of a model, as a graph file."""
    return platformdirs.user_data_path(APP, appauthor=False) / "int8" / identity / "image.xml"


def certificate(identity: str) -> Path:
    """What `models check` found of a model on this machine."""
    return platformdirs.user_data_path(APP, appauthor=False) / "certificates" / f"{identity}.json"


def calibration(identity: str) -> Path:
    """The match calibration that a user fitted for a model."""
    return platformdirs.user_data_path(APP, appauthor=False) / "calibration" / f"{identity}.json"


def relevance(identity: str) -> Path:
    """What relevance is told by: of a model, and of each library with it. May be deleted at any time."""
    return platformdirs.user_cache_path(APP, appauthor=False) / "relevance" / identity


def notices() -> Path:
    """One empty file for each notice that was shown and need not be shown again."""
    return platformdirs.user_state_path(APP, appauthor=False) / "notices"
