"""Installed models: pull from catalogue or hub, list, remove.

repository or folder ── its files, at one commit ── convert ── places.models() / NAME, whole or not at all
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crosslens import app_folders
from crosslens.acquire.hub_download import OnBytes, Repository, downloads
from crosslens.errors import CrosslensError, DownloadError, ModelError, UnknownModelError
from crosslens.models import catalogue_entry as layouts
from crosslens.models.bundle import Bundle, load_bundle
from crosslens.models.catalogue import by_hand, entry_of, find_bundle, local_name, own_name, repo_of
from crosslens.models.catalogue_entry import STARTER, Choice, Entry
from crosslens.models.known_models import ARCHITECTURES

# The first file of a layout that only this format has; what has none of the others is transformers'.
_MARKED: tuple[tuple[Choice, ...], ...] = (layouts.ONNX, layouts.SENTENCE, layouts.OPENCLIP)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that was pulled. size: bytes on the disk. repo, commit: where it is from; None if by hand."""

    name: str
    folder: Path
    size: int
    repo: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal freed, in bytes. kept: what the hub's cache still holds of it, and its size."""

    name: str
    freed: int
    kept: Path | None
    kept_size: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model's files come from, where not from the catalogue's place.

    folder: they lie there already. revision: instead of the pinned one. image_tower: name or folder of the
    bundle that a text tower fits.
    """

    folder: Path | None = None
    revision: str | None = None
    image_tower: str | None = None


def pull(name: str, on_bytes: OnBytes = lambda _file, _done, _all: None, origin: Origin = Origin()) -> Bundle:
    """Bring a model of the catalogue, or of the hub ("owner/name"), onto this machine.

    on_bytes: file, bytes that are here, bytes in all. A model that is here already is left as it is.
    Raises UnknownModelError, DownloadError, ConversionError, MissingExtraError, ModelError.
    """
    from crosslens.acquire.convert.convert import convert

    called, repo, entry = own_name(name), repo_of(name), entry_of(name)
    if called is None or (entry is None and repo is None):
        find_bundle(name)  # says what there is instead
        raise ModelError(f"{name} is a model already", "Use it by its path, or by its name")
    if local_name(name) is not None:
        _refuse_other(called, origin)
        return find_bundle(called)
    with _place(called) as work:
        if origin.folder is not None:
            files, source = origin.folder, {"folder": str(origin.folder.absolute())}
        else:
            files, source = _fetch(entry, repo or "", origin, on_bytes, work / "files")
        tower = origin.image_tower or (entry.image_tower if entry else None)
        if tower is not None and local_name(tower) is None and entry_of(tower) is not None:
            pull(tower, on_bytes)
        bundle = convert(
            _with_configuration(files, entry, work),
            work / "bundle",
            name=called,
            image_tower=tower,
            on_progress=lambda done, total: on_bytes("bundle", done, total),
        )
        _note(bundle.folder / "config.json", entry, source)
        bundle.folder.replace(app_folders.models() / called)
    return load_bundle(app_folders.models() / called)


def pulled() -> list[Pulled]:
    """The models that were pulled, by name."""
    found = []
    for config in sorted(app_folders.models().glob("[!.]*/config.json")):
        try:
            source = json.loads(config.read_text()).get("source")
        except (OSError, ValueError, AttributeError):
            source = None
        source = source if isinstance(source, dict) else {}  # of a trained model it is a text
        folder = config.parent
        found.append(
            Pulled(folder.name, folder, disk_use(folder), source.get("repo"), source.get("revision"))
        )
    return found


def remove(name: str, *, also_downloads: bool = False) -> Removed:
    """Take a pulled model off this machine, with what was made for it alone.

    also_downloads: its files in the hub's cache too, which other programs may use.
    Raises ModelError for what was not pulled.
    """
    if name == STARTER:
        raise ModelError(f"{STARTER} is part of the package and stays", "Name one that was pulled")
    called = own_name(name)
    model = next((model for model in pulled() if model.name == called), None)
    if model is None:
        if Path(name).expanduser().is_dir():
            raise ModelError(
                f"{name} is a folder of yours, not a model that was pulled", "Delete it yourself"
            )
        known = f"{entry.name} is" if (entry := entry_of(name)) else f"{name!r} is"
        raise UnknownModelError(f"{known} not on this machine", "`crosslens models` lists what is")
    freed = model.size + _remove_made(model)
    doomed = model.folder.with_name(f".{model.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    model.folder.replace(doomed)  # gone at once, whatever comes in between
    shutil.rmtree(doomed)
    kept = downloads(model.repo) if model.repo else None
    if kept is None or not kept.is_dir():
        return Removed(model.name, freed, None, 0)
    if also_downloads:
        freed += disk_use(kept)
        shutil.rmtree(kept)
        return Removed(model.name, freed, None, 0)
    return Removed(model.name, freed, kept, disk_use(kept))


def disk_use(folder: Path) -> int:
    """Bytes of the files in a folder; what links lead to counts once, where it lies."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _refuse_other(called: str, origin: Origin) -> None:
    if origin != Origin():
        raise ModelError(
            f"{called} is here already", f"To replace it, first: crosslens models remove {called}"
        )


@contextmanager
def _place(name: str) -> Iterator[Path]:
    """A folder to work in beside the model's place; nobody else works there."""
    from filelock import FileLock, Timeout

    folder = app_folders.models()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock", timeout=0):
            for left_behind in folder.glob(f".{name}.work-*"):
                shutil.rmtree(left_behind, ignore_errors=True)
            with TemporaryDirectory(dir=folder, prefix=f".{name}.work-") as work:
                yield Path(work)
    except Timeout as error:
        raise ModelError(f"another process is pulling {name}", "Wait for it") from error
    except CrosslensError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"no space is left for {name} in {folder}", "Make room, and try again"
            ) from error
        raise DownloadError(f"{error.filename or folder} cannot be written ({error.strerror})") from error


def _fetch(
    entry: Entry | None, repo: str, origin: Origin, on_bytes: OnBytes, into: Path
) -> tuple[Path, dict[str, str]]:
    """A repository's files under their names in a folder, and where they are from."""
    if entry is not None and entry.repo is not None:
        repo, hand = entry.repo, by_hand(entry)
    else:
        hand = f"put its files into a folder, and: crosslens models convert FOLDER --out {repo.split('/')[1]}"
    revision = origin.revision or (entry.revision if entry else None) or "main"
    repository = Repository(repo, revision, on_bytes, hand)
    layout = entry.layout if entry else _layout(repository)
    for name, path in repository.fetch(layout).items():
        link = into / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return into, {"repo": repo, "revision": repository.commit or revision}


def _layout(repository: Repository) -> tuple[Choice, ...]:
    """The layout of a repository that the catalogue does not know."""
    for layout in _MARKED:
        if repository.holds(layout[0][0][0]):
            return layout
    if repository.holds("preprocessor_config.json"):
        sharded = (*layouts.HUGGING[-1], ("model.safetensors.index.json",), ("pytorch_model.bin.index.json",))
        return (*layouts.HUGGING[:-1], sharded)
    return layouts.TEXT_TOWER


def _with_configuration(files: Path, entry: Entry | None, work: Path) -> Path:
    """The folder, or one like it with the configuration that its repository lacks."""
    name = "open_clip_config.json"
    if entry is None or entry.architecture is None or (files / name).exists():
        return files
    if files != work / "files":
        linked = work / "files"
        linked.mkdir()
        for path in files.iterdir():
            (linked / path.name).symlink_to(path.resolve())
        files = linked
    (files / name).write_text(json.dumps(ARCHITECTURES[entry.architecture]))
    return files


def _note(config: Path, entry: Entry | None, source: dict[str, str]) -> None:
    """Add to config.json what the catalogue knows, and where the files are from."""
    facts: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    facts["source"] = {**(facts.get("source") or {}), **source}
    if entry is not None:
        facts["license"] = entry.licence
        if entry.scripts:
            facts["scripts"] = list(entry.scripts)
    config.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _remove_made(model: Pulled) -> int:
    """Remove what was made of a model on this machine, unless another has the same pictures; bytes freed."""
    try:
        identity = load_bundle(model.folder).spec.identity
    except ModelError:
        return 0
    for other in pulled():
        try:
            if other.name != model.name and load_bundle(other.folder).spec.identity == identity:
                return 0
        except ModelError:
            continue
    freed = 0
    for path in (app_folders.quantised(identity).parent, app_folders.certificate(identity)):
        if path.is_dir():
            freed += disk_use(path)
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    return freed
