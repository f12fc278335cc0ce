"""NNCF, which makes int8 graphs, loaded with its telemetry off."""

from __future__ import annotations

import logging
import os
from typing import Any

from crosslens.errors import MissingExtraError


def load_nncf() -> Any:
    """The package. It reads the environment when it is imported, and never again.

    Raises MissingExtraError without it.
    """
    os.environ["NNCF_CI"] = "1"
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "int8") from error
    nncf.set_log_level(logging.ERROR)
    return nncf
