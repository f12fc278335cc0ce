"""What a picture's EXIF says of it, and what is made of EXIF that is wrong. The pictures are made here."""

from __future__ import annotations

import io
import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from crosslens import Library, Matcher
from crosslens.images.exif import facts_of
from crosslens.store.schema import DATABASE
from crosslens.types import Facts

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")


def exif_of(
    base: dict[int, Any] | None = None,
    details: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    exif.get_ifd(0x8769).update(details or {})
    exif.get_ifd(0x8825).update(gps or {})
    return exif


def picture(exif: Image.Exif | bytes | None, kind: str = "JPEG", colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, kind, **({} if exif is None else {"exif": exif}))
    return file.getvalue()


def gps(latitude: float, longitude: float) -> dict[int, Any]:
    def parts(value: float) -> tuple[IFDRational, ...]:
        seconds = round(abs(value) * 3600 * 1000)
        return (
            IFDRational(seconds // 3600000, 1),
            IFDRational(seconds // 60000 % 60, 1),
            IFDRational(seconds % 60000, 1000),
        )

    return {1: "NS"[latitude < 0], 2: parts(latitude), 3: "EW"[longitude < 0], 4: parts(longitude)}


def everything() -> Image.Exif:
    return exif_of(
        {0x010F: "Google", 0x0110: "Pixel 7", 0x0132: "2024:01:01 00:00:00"},
        {0x9003: "2023:05:17 12:34:56"},
        gps(48.8584, 2.2945),
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_time_place_and_camera_are_read_from_every_format(kind: str) -> None:
    facts = facts_of(picture(everything(), kind))
    assert (facts.taken, facts.camera) == ("2023-05-17T12:34:56", "Google Pixel 7")
    assert (facts.latitude, facts.longitude) == (pytest.approx(48.8584), pytest.approx(2.2945))


def test_a_tiff_says_what_its_own_tags_say() -> None:
    facts = facts_of(picture(everything(), "TIFF"))  # Pillow writes no others
    assert facts == Facts("2024-01-01T00:00:00", camera="Google Pixel 7")


@pytest.mark.parametrize("kind", [*FORMATS, "TIFF", "GIF", "BMP"])
def test_a_picture_that_says_nothing_has_no_facts(kind: str) -> None:
    assert facts_of(picture(None, kind)) == Facts()


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (48.8584, 2.2945),
        (-33.8568, 151.2153),
        (40.6892, -74.0445),
        (-22.9519, -43.2105),
        (0, 9.5),
        (90, -180),
    ],
)
def test_places_are_right_in_all_hemispheres(latitude: float, longitude: float) -> None:
    facts = facts_of(picture(exif_of(gps=gps(latitude, longitude))))
    assert facts.latitude == pytest.approx(latitude, abs=1e-6)
    assert facts.longitude == pytest.approx(longitude, abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        gps(0, 0),  # what cameras write that have no fix
        gps(91, 0),
        gps(10, 181),
        gps(10, 10) | {1: "X"},
        gps(10, 10) | {3: ""},
        {2: (10, 0, 0), 4: (10, 0, 0)},
        gps(10, 10) | {2: (IFDRational(1, 0), IFDRational(0, 1), IFDRational(0, 1))},
        gps(10, 10) | {2: (IFDRational(10, 1),) * 4},
    ],
)
def test_a_place_that_cannot_be_is_none(wrong: dict[int, Any]) -> None:
    facts = facts_of(picture(exif_of({0x0110: "X"}, gps=wrong)))
    assert (facts.latitude, facts.longitude, facts.camera) == (None, None, "X")


@pytest.mark.parametrize(
    ("details", "changed", "taken"),
    [
        ({0x9003: "2023:05:17 12:34:56"}, "2024:01:01 00:00:00", "2023-05-17T12:34:56"),
        ({0x9004: "2023:05:17 12:34:56"}, "2024:01:01 00:00:00", "2023-05-17T12:34:56"),
        ({}, "2024:01:01 00:00:00", "2024-01-01T00:00:00"),
        ({0x9003: "0000:00:00 00:00:00"}, "2024:01:01 00:00:00", "2024-01-01T00:00:00"),
        ({0x9003: "2023:02:30 12:00:00"}, "    :  :     :  :  ", None),
        ({0x9003: "2023-05-17T12:34:56+02:00"}, "", "2023-05-17T12:34:56"),
        ({0x9003: "1601:01:01 00:00:00"}, "soon", None),
    ],
)
def test_the_time_is_the_first_that_can_be(details: dict[int, Any], changed: str, taken: str | None) -> None:
    assert facts_of(picture(exif_of({0x0132: changed}, details))).taken == taken


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 12 ", "Apple iPhone 12"),
        ("", "X100", "X100"),
        ("Leica", "", "Leica"),
        ("  ", "", None),
        ("A\x1b[31m", "B", "A [31m B"),
    ],
)
def test_the_camera_is_maker_and_model_once(make: str, model: str, camera: str | None) -> None:
    assert facts_of(picture(exif_of({0x010F: make, 0x0110: model}))).camera == camera


def test_what_is_no_picture_has_no_facts() -> None:
    assert facts_of(b"") == facts_of(b"no picture") == facts_of(picture(everything())[:30]) == Facts()


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_exif_fails_nothing(data: st.DataObject) -> None:
    block = bytearray(everything().tobytes())
    for place in data.draw(st.lists(st.integers(6, len(block) - 1), max_size=8)):
        block[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(block)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts = facts_of(picture(bytes(block[:cut])))
    assert facts.latitude is None or (abs(facts.latitude) <= 90 and abs(facts.longitude or 0) <= 180)
    assert (facts.latitude is None) == (facts.longitude is None)


# -- in a library ---------------------------------------------------------------------------------


def rows(library: Library) -> dict[str, tuple[Any, ...]]:
    with sqlite3.connect(library.folder / DATABASE) as db:
        query = (
            "SELECT path, facts.hash IS NOT NULL, taken, latitude, camera "
            "FROM items LEFT JOIN facts USING (hash)"
        )
        found = {Path(path).name: rest for path, *rest in db.execute(query)}
    db.close()
    return {name: tuple(rest) for name, rest in found.items()}


def test_indexing_keeps_the_facts_of_pictures(tmp_path: Path, fake: Matcher) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture(everything()))
    (folder / "copy.jpg").write_bytes(picture(everything()))
    (folder / "b.png").write_bytes(picture(None, "PNG", "blue"))
    (folder / "bad.jpg").write_bytes(picture(b"Exif\0\0MM\0*\xff\xff\xff\xff", colour="green"))
    with Library.open(tmp_path / "library", fake) as library, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert library.index(folder).failures == ()
        library.add(images=[picture(everything(), colour="yellow")], names=["added"])
        full = (1, "2023-05-17T12:34:56", pytest.approx(48.8584), "Google Pixel 7")
        assert rows(library) == {
            "a.jpg": full,
            "copy.jpg": full,
            "added:added": full,
            "b.png": (1, None, None, None),
            "bad.jpg": (1, None, None, None),
        }


def test_facts_that_are_missing_are_read_when_a_file_is_opened_again(tmp_path: Path, fake: Matcher) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    file = folder / "a.jpg"
    file.write_bytes(picture(everything()))
    with Library.open(tmp_path / "library", fake) as library:
        library.index(folder)
        with library.database.writing() as db:  # as a library of version 1 has it
            db.execute("DELETE FROM facts")
        library.index()
        assert rows(library)["a.jpg"][0] == 0
        os.utime(file, (1, 1))
        assert library.index().encoded == 0
        assert rows(library)["a.jpg"][1] == "2023-05-17T12:34:56"


def test_facts_go_with_their_content(tmp_path: Path, fake: Matcher) -> None:
    with Library.open(tmp_path / "library", fake) as library:
        library.add(images=[picture(everything())])
        library.remove(1)
        with library.database.writing() as db:
            db.execute("DELETE FROM vectors")
            db.execute("DELETE FROM contents")
            assert db.execute("SELECT count(*) FROM facts").fetchone() == (0,)
