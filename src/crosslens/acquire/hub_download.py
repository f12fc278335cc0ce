"""Downloads from the Hugging Face hub: by huggingface_hub, into its cache, at one commit, whole.

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN mean what they mean to it. What is in the
cache is not asked for again, and is enough without a network.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from crosslens.errors import CrosslensError, DownloadError, MissingExtraError
from crosslens.models.catalogue_entry import Choice

# File, bytes that are here, bytes in all (None: not said).
OnBytes = Callable[[str, int, int | None], None]

_AGAIN = "Run the same command again: it goes on from there"


class Repository:
    """A repository at one revision.

    revision: a commit, branch or tag. commit: what it turned out to be, once a file has been looked at.
    by_hand: what to do without a network, for errors.
    """

    def __init__(self, name: str, revision: str, on_bytes: OnBytes, by_hand: str) -> None:
        self.name = name
        self.revision = revision
        self.commit: str | None = None
        self._on_bytes = on_bytes
        self._by_hand = by_hand
        self._reached = False
        self._why_offline: Exception | str = ""

    def fetch(self, layout: tuple[Choice, ...]) -> dict[str, Path]:
        """The files of a layout, by name; the weights come last. Raises DownloadError, MissingExtraError."""
        files: dict[str, Path] = {}
        for choice in layout:
            found = next((some for names in choice if (some := self._all(names)) is not None), None)
            if found is None:
                self._lacks(choice)
            files |= found
        return files

    def holds(self, name: str) -> bool:
        """Whether there is such a file; small ones only, since it is fetched."""
        return self.file(name) is not None

    def file(self, name: str) -> Path | None:
        """One file; None where the repository has none of that name, or where nobody can be asked."""
        from huggingface_hub import constants, try_to_load_from_cache

        cached = try_to_load_from_cache(self.name, name, revision=self.commit or self.revision)
        if isinstance(cached, str):
            path = Path(cached)
            self.commit = self._commit_of(path, name)
            return path
        if cached is not None:  # known not to exist
            return None
        if constants.HF_HUB_OFFLINE:
            self._why_offline = "HF_HUB_OFFLINE is set"
        if self._why_offline:
            return None
        return self._download(name)

    def _all(self, names: tuple[str, ...]) -> dict[str, Path] | None:
        """These files, with the parts of those that are only an index; None if one is missing."""
        found: dict[str, Path] = {}
        for name in names:
            path = self.file(name)
            if path is None:
                return None
            found[name] = path
            if name.endswith(".index.json"):
                parts = self._all(tuple(sorted(set(json.loads(path.read_text())["weight_map"].values()))))
                if parts is None:
                    return None
                found |= parts
        return found

    def _download(self, name: str) -> Path | None:
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

        # The library asks nothing of others but the files.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        revision = self.commit or self.revision
        try:
            facts = get_hf_file_metadata(hf_hub_url(self.name, name, revision=revision))
            self._reached = True
            self.commit = facts.commit_hash or self.commit
            if name.endswith((".bin", ".pt")) and not find_spec("torch"):
                raise MissingExtraError("PyTorch", "torch")
            if facts.etag is not None:
                self._complete(name, facts)
            # The blob is there: this gives it its name.
            return Path(hf_hub_download(self.name, name, revision=revision))
        except CrosslensError:
            raise
        except Exception as error:  # of whichever HTTP library this version uses
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                self._reached = True
                return None
            reason = _reason(error, self.name, self.revision)
            if reason is not None:
                raise reason from error
            if self._reached:
                broken = f"the download of {name} of {self.name} broke off ({error})"
                raise DownloadError(broken, _AGAIN) from error
            self._why_offline = error  # from here on, only the cache is looked into
            return None

    def _complete(self, name: str, facts: Any) -> None:
        """Bring a file's blob into the cache, going on where an earlier run stopped."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers, disable_progress_bars

        blobs = downloads(self.name) / "blobs"
        blob, part = blobs / facts.etag, blobs / f"{facts.etag}.crosslens.incomplete"
        if blob.exists():
            return
        blobs.mkdir(parents=True, exist_ok=True)
        if facts.size is not None and part.exists() and part.stat().st_size > facts.size:
            part.unlink()
        if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
            disable_progress_bars("huggingface_hub.http_get")
        headers = build_hf_headers()
        if _host(facts.location) != _host(constants.ENDPOINT):  # where files are stored, no token is wanted
            headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
        with part.open("ab") as file:
            here = file.tell()
            metered = cast(BinaryIO, _Metered(file, lambda done: self._on_bytes(name, done, facts.size)))
            http_get(facts.location, metered, resume_size=here, headers=headers, expected_size=facts.size)
        _verify(part, facts.etag, name)
        part.replace(blob)

    def _lacks(self, choice: Choice) -> NoReturn:
        wanted = " or ".join(" and ".join(names) for names in choice)
        if self._why_offline:
            raise DownloadError(
                f"{wanted} of {self.name} is not in the hub's cache, and the hub cannot be asked "
                f"({self._why_offline})",
                f"Without a network: {self._by_hand}",
            )
        raise DownloadError(
            f"{self.name} at {(self.commit or self.revision)[:12]} has no {wanted}",
            "Another revision may: --revision main",
        )

    @staticmethod
    def _commit_of(path: Path, name: str) -> str:
        return path.parents[len(Path(name).parts) - 1].name


class _Metered:
    """A file that says how long it has become."""

    def __init__(self, file: BinaryIO, on_length: Callable[[int], None]) -> None:
        self._file = file
        self._on_length = on_length

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._on_length(self._file.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def downloads(repo: str) -> Path:
    """Where the hub's cache keeps a repository."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _reason(error: Exception, repo: str, revision: str) -> DownloadError | None:
    """What an error means; None where the hub cannot be reached, or can no longer be."""
    from huggingface_hub import constants, utils

    host = constants.ENDPOINT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            f"no space is left for the files of {repo} in {constants.HF_HUB_CACHE}",
            "Make room, or set HF_HOME to a folder on a larger disk; the same command goes on from there",
        )
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        unwritable = f"{error.filename} cannot be written ({error.strerror})"
        return DownloadError(unwritable, "Set HF_HOME to a folder that can be")
    if isinstance(error, utils.GatedRepoError):
        return DownloadError(
            f"{repo} is given only to those who have accepted its terms",
            f"Accept them on {host}/{repo}, then log in with: hf auth login",
        )
    if isinstance(error, utils.RepositoryNotFoundError | utils.HFValidationError):
        return DownloadError(
            f"there is no repository {repo} on {host}, or it is private",
            "Check the spelling; for a private one, log in with: hf auth login",
        )
    if isinstance(error, utils.RevisionNotFoundError):
        return DownloadError(
            f"{repo} on {host} has no revision {revision}", "Take its newest with: --revision main"
        )
    status = getattr(getattr(error, "response", None), "status_code", 500)
    return DownloadError(f"{host} refuses the files of {repo} ({status})") if status < 500 else None


def _host(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _verify(part: Path, etag: str, name: str) -> None:
    """Large files are named by their SHA-256; a damaged one is thrown away."""
    if len(etag) != 64:
        return
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == etag:
            return
    part.unlink()
    raise DownloadError(f"{name} was damaged on its way and was thrown away", "Run the same command again")
