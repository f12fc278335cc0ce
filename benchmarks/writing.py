"""Writing what was measured of a model into its bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crosslens.models.bundle import load_bundle
from crosslens.models.catalogue import find_bundle


def write_facts(model: str, facts: dict[str, Any]) -> Path:
    """Set keys of a bundle's config.json, whole or not at all, and read it again."""
    path = find_bundle(model).folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | facts
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
    load_bundle(path.parent)
    return path
