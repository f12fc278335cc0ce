"""Pictures in requests: data URIs, base64, uploads, and URLs where they are allowed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from crosslens.serve.config import ServeConfig
from crosslens.serve.error_responses import Problem, invalid, too_large
from crosslens.serve.security.url_fetch import fetch

_DATA_URI = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<more>(;[\w.+=-]+)*),", re.ASCII)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def is_picture(text: str) -> bool:
    """Whether a text is a data URI of a picture."""
    found = _DATA_URI.match(text[:200])
    return found is not None and (found["type"] or "").startswith("image/")


def picture_bytes(text: str, config: ServeConfig, name: str) -> bytes:
    """The bytes of a picture that is written into a request, or behind an address. Raises Problem."""
    if _ADDRESS.match(text):
        if not config.urls:
            remedy = "Send the picture itself, as a data URI; the operator can allow addresses: --allow-urls"
            raise Problem(403, "urls_off", "Pictures behind addresses are not fetched", name, remedy)
        return fetch(text, config.limits.url_bytes, config.limits.url_seconds)
    written = text
    if text.startswith("data:"):
        found = _DATA_URI.match(text[:200])
        if found is None or ";base64" not in found["more"]:
            raise invalid(f"{name} is a data URI that is not base64", "Wanted: data:image/jpeg;base64,…")
        written = text[found.end() :]
    try:
        data = base64.b64decode("".join(written.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{name} is no base64 ({error})", "Send a data URI, or base64") from error
    if not data:
        raise invalid(f"{name} is empty", "Send the bytes of a picture")
    if len(data) > config.pictures.max_bytes:
        raise too_large(f"{name} has {len(data):,} bytes, {config.pictures.max_bytes:,} are allowed")
    return data


def uploaded(files: Mapping[str, bytes], field: str) -> bytes:
    """The bytes of a file that came with the request. Raises Problem."""
    if field not in files:
        there = ", ".join(sorted(files)) or "none"
        raise invalid(f"there is no file {field!r} in the request", f"The files in it: {there}")
    return files[field]
