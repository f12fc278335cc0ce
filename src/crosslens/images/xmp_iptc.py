"""Captions and keywords embedded in image files: XMP, IPTC, EXIF and PNG texts.

Only headers are read. Anything may be in them, so what cannot be read counts as not said.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

from PIL import Image, IptcImagePlugin

_LONGEST_CAPTION, _LONGEST_KEYWORD, _MOST_KEYWORDS = 2000, 100, 100
_LARGEST_XMP = 1 << 20
_DESCRIPTION, _USER_COMMENT, _EXIF_IFD = 0x010E, 0x9286, 0x8769
_XP_TITLE, _XP_COMMENT, _XP_KEYWORDS = 0x9C9B, 0x9C9C, 0x9C9E
_IPTC_CHARSET, _IPTC_TITLE, _IPTC_KEYWORDS, _IPTC_CAPTION = (1, 90), (2, 5), (2, 25), (2, 120)
_UTF8_IN_IPTC = b"\x1b%G"
_DC, _RDF = "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LIGHTROOM = "{http://ns.adobe.com/lightroom/1.0/}"
# What cameras and programs put there without being asked.
_EMPTY_WORDS = {
    "olympus digital camera", "sony dsc", "digital camera", "minolta digital camera", "samsung camera",
    "samsung digital camera", "kodak digital still camera", "dcim100media", "dcim", "default", "untitled",
    "jpeg", "created with gimp", "created with the gimp", "ascii", "binary",
}  # fmt: skip


def metadata_of(image: Image.Image, exif: Image.Exif) -> tuple[str | None, tuple[str, ...]]:
    """(caption, keywords) of an open picture. exif: its own, read already."""
    captions: list[str] = []
    keywords: list[str] = []
    for read in (_xmp, _iptc, _exif, _png):
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for kind, text in read(image, exif):
                (captions if kind == "caption" else keywords).append(text)
    said = [text for text in map(_clean, captions) if text and text.lower() not in _EMPTY_WORDS]
    caption = "; ".join(dict.fromkeys(said))[:_LONGEST_CAPTION].strip()
    return caption or None, _distinct(keywords)


def _distinct(keywords: list[str]) -> tuple[str, ...]:
    """Each once, whatever its case, as tags are written: Lightroom's "|" divides as "/" does."""
    found: dict[str, str] = {}
    for keyword in keywords:
        parts = [_clean(part) for part in keyword.replace("|", "/").split("/")]
        tag = "/".join(part for part in parts if part)
        if 0 < len(tag) <= _LONGEST_KEYWORD:
            found.setdefault(tag.casefold(), tag)
    return tuple(found.values())[:_MOST_KEYWORDS]


def _clean(text: str) -> str:
    text = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else " " for c in text)
    return " ".join(text.split())


# -- where it may stand: each gives ("caption" or "keyword", text) --------------------------------


def _xmp(image: Image.Image, _exif: Image.Exif) -> Iterator[tuple[str, str]]:
    data = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = data.encode() if isinstance(data, str) else data
    # XMP has no document type, and one could make a small file a large tree.
    if not data or len(data) > _LARGEST_XMP or b"<!" in data.replace(b"<!--", b""):
        return
    root = ElementTree.fromstring(data.rstrip(b"\0"))  # noqa: S314 (no entities: see above)
    for name in ("title", "description"):
        for text in _entries(root, f"{_DC}{name}")[:1]:  # of several languages the first, the default
            yield "caption", text
    for name in (f"{_LIGHTROOM}hierarchicalSubject", f"{_DC}subject"):
        yield from (("keyword", text) for text in _entries(root, name))


def _entries(root: ElementTree.Element, name: str) -> list[str]:
    return [entry.text for parent in root.iter(name) for entry in parent.iter(f"{_RDF}li") if entry.text]


def _iptc(image: Image.Image, _exif: Image.Exif) -> Iterator[tuple[str, str]]:
    found: dict[Any, Any] = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    utf8 = found.get(_IPTC_CHARSET) == _UTF8_IN_IPTC
    for key, kind in ((_IPTC_TITLE, "caption"), (_IPTC_CAPTION, "caption"), (_IPTC_KEYWORDS, "keyword")):
        values = found.get(key, [])
        for value in values if isinstance(values, list) else [values]:
            yield kind, _decoded(value, utf8=utf8)


def _decoded(data: bytes, *, utf8: bool) -> str:
    """Text that does not say how it is encoded: as UTF-8 where it can be, else as Western European."""
    if not utf8:
        with suppress(UnicodeDecodeError):
            return data.decode()
    return data.decode("utf-8" if utf8 else "cp1252", "replace")


def _exif(_image: Image.Image, exif: Image.Exif) -> Iterator[tuple[str, str]]:
    for tag in (_DESCRIPTION, _XP_TITLE, _XP_COMMENT):
        yield "caption", _text(exif.get(tag), wide=tag != _DESCRIPTION)
    for keyword in _text(exif.get(_XP_KEYWORDS), wide=True).split(";"):
        yield "keyword", keyword
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if isinstance(comment, bytes):
        kind, rest = comment[:8].rstrip(b"\0"), comment[8:]
        wide = kind == b"UNICODE"
        yield "caption", _text(rest, wide=wide) if kind in (b"ASCII", b"UNICODE") else ""


def _text(value: Any, *, wide: bool) -> str:
    """wide: two bytes a character, little-endian, as Windows writes."""
    if isinstance(value, tuple):
        value = bytes(value)
    if isinstance(value, bytes):
        value = value.decode("utf-16-le", "replace") if wide else _decoded(value, utf8=False)
    return str(value or "").partition("\0")[0]


def _png(image: Image.Image, _exif: Image.Exif) -> Iterator[tuple[str, str]]:
    if image.format == "PNG":
        for name in ("Title", "Description", "Comment"):
            yield "caption", str(image.info.get(name) or "")
