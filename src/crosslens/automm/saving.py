"""A predictor on disk: predictor.json, the model's bundle in model/, and match.json.

There is no pickle in it, and reading it runs no code that it brings. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosslens.arguments import brief
from crosslens.errors import BundleError, InputError
from crosslens.matching.match_probability import load_match, save_match
from crosslens.matching.matcher import Matcher
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import find_bundle, local_name
from crosslens.models.certificate import certificate_file, find_certificate, save_certificate
from crosslens.models.spec import MatchSpec
from crosslens.towers.fake_model import FakeModel

FORMAT, VERSION = "crosslens-predictor", 1
_FACTS, _MODEL, _MATCH = "predictor.json", "model", "match.json"
# Files of a bundle besides those that its config.json names.
_ABOUT = ("README", "LICENSE", "LICENCE", "NOTICE", "COPYING")
# What predictor.json holds, and of what kind each is.
_TEXT = (str, type(None))
_LABEL = (str, int, float, bool)
_KINDS: dict[str, tuple[type, ...]] = {
    "problem_type": (str,),
    "label": _TEXT,
    "query": _TEXT,
    "response": _TEXT,
    "match_label": _LABEL,
    "classes": (list,),
    "eval_metric": (str, list, type(None)),
    "probability": (str,),
    "summary": (dict, type(None)),
}


@dataclass(frozen=True, slots=True)
class Saved:
    """A predictor as it was saved.

    settings: of the constructor, by its names. summary: of the fit; None where nothing was fitted.
    model: its name, or the folder of its bundle. match: the predictor's own match probability, if it has one.
    """

    settings: dict[str, Any]
    summary: dict[str, Any] | None
    model: str
    match: MatchSpec | None


def place_for(path: str | os.PathLike[str]) -> Path:
    """Where a predictor may be saved: nothing is there, or an empty folder, or a predictor.

    Raises InputError for anything else.
    """
    place = Path(os.path.abspath(os.path.expanduser(os.fspath(path))))
    if not os.path.lexists(place):
        return place
    try:
        folder = place.is_dir() and not place.is_symlink()
        if folder and (not any(place.iterdir()) or _facts(place) is not None):
            return place
    except OSError as error:
        raise InputError(f"{place} cannot be read ({error.strerror})", "Name a new folder") from error
    raise InputError(f"{place} exists and is no predictor", "Name a new folder")


def save_predictor(place: Path, facts: Mapping[str, Any], matcher: Matcher, *, standalone: bool) -> None:
    """Write a predictor; one that lies there is replaced once the new one is whole.

    facts: what `_KINDS` lists. standalone: keep a copy of the model, too; without, a model that has a name
    here is kept by name. Raises InputError, BundleError.
    """
    draft = place.with_name(f".{place.name}.draft-{uuid.uuid4().hex}")
    name = matcher.reference
    by_name = name == FakeModel.spec.name or (not standalone and local_name(name) is not None)
    kept = {key: _plain(key, value) for key, value in facts.items()}
    model = {"name": name if by_name else None, "identity": matcher.spec.identity}
    match = matcher.own_match
    head = {"format": FORMAT, "version": VERSION, "model": model, "calibrated": match is not None}
    try:
        draft.mkdir(parents=True)
        if not by_name:
            _copy_bundle(find_bundle(name), draft / _MODEL)
        if match is not None:
            save_match(match, draft / _MATCH)
        text = json.dumps({**head, **kept}, indent=1, ensure_ascii=False)
        (draft / _FACTS).write_text(text + "\n", encoding="utf-8")
        _replace(place, draft)
    except OSError as error:
        problem = f"{place} cannot be written ({error.strerror or error})"
        raise InputError(problem, "Make room, or name another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_predictor(path: str | os.PathLike[str]) -> Saved:
    """Read what `save_predictor` wrote.

    Raises InputError where no predictor is, BundleError for one that is damaged or of a newer crosslens.
    """
    place = Path(os.path.abspath(os.path.expanduser(os.fspath(path))))
    facts = _facts(place)
    if facts is None:
        raise InputError(f"{place} holds no predictor", "Name a folder that predictor.save wrote")
    if facts.get("version") != VERSION:
        raise BundleError(f"{place} was saved by a newer crosslens", "Update crosslens")
    for key, kinds in _KINDS.items():
        if not isinstance(facts.get(key), kinds):
            raise _damaged(place, f'"{key}" is {brief(facts.get(key))}')
    model = facts.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str | None):
        raise _damaged(place, f'"model" is {brief(model)}')
    name = model["name"] or str(place / _MODEL)
    spec = FakeModel.spec if name == FakeModel.spec.name else find_bundle(name).spec
    if spec.identity != model.get("identity"):
        remedy = "Save it with standalone=True, which keeps the model" if model["name"] else "Copy it again"
        raise BundleError(f"{place} was saved with another model than {name} is", remedy)
    match = load_match(place / _MATCH) if facts.get("calibrated") else None
    if facts.get("calibrated") and match is None:
        raise _damaged(place, f"{_MATCH} cannot be read")
    settings = {key: facts[key] for key in _KINDS if key != "summary"}
    return Saved(settings, facts["summary"], name, match)


def _facts(place: Path) -> dict[str, Any] | None:
    """predictor.json; None where there is none. Raises BundleError where it is none of ours that is whole."""
    try:
        text = (place / _FACTS).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(place, f"{_FACTS} cannot be read ({error})") from error
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, f"{_FACTS} is no JSON ({error})") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise _damaged(place, f'{_FACTS} does not say "format": "{FORMAT}"')
    return facts


def _damaged(place: Path, reason: str) -> BundleError:
    return BundleError(f"the predictor in {place} is damaged: {reason}", "Save it again, or copy it again")


def _copy_bundle(bundle: Bundle, out: Path) -> None:
    """The files that belong to a bundle, and what was found of the model on this machine."""
    config = json.loads((bundle.folder / "config.json").read_text(encoding="utf-8"))
    out.mkdir()
    about = [file.name for file in bundle.folder.iterdir() if file.stem.upper() in _ABOUT and file.is_file()]
    named = [name for name in config["sha256"] if os.path.basename(name) == name]
    for name in ("config.json", *named, *about):
        shutil.copyfile(bundle.folder / name, out / name)
    certificate = find_certificate(bundle)
    if certificate is not None:
        save_certificate(certificate, certificate_file(load_bundle(out)))


def _replace(place: Path, draft: Path) -> None:
    """Move the draft to its place; what lay there goes once that is done, and stays if it cannot be."""
    old = place.with_name(f".{place.name}.old-{uuid.uuid4().hex}")
    there = place.exists()
    if there:
        place.rename(old)
    try:
        draft.rename(place)
    except OSError:
        if there:
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _plain(name: str, value: Any) -> Any:
    """A setting as JSON holds it. Raises InputError for what JSON has no form for."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(name, item) for key, item in value.items()}
    if value is not None and not isinstance(value, _LABEL):
        raise InputError(f"{name} holds {brief(value)}, which cannot be saved", "Use texts or numbers")
    return value
