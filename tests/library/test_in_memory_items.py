"""Adding to a library what lies in no file."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosslens import CrosslensError, ImageError, InputError, Library, Matcher
from crosslens.errors import LibraryBusyError, LibraryModelError, TextError
from crosslens.store.locks import writer_lock

Paint = Callable[..., Path]


@pytest.fixture
def library(tmp_path: Path, fake: Matcher) -> Iterator[Library]:
    with Library.open(tmp_path / "library", fake) as library:
        yield library


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> Image.Image:
    return Image.new("RGB", size, colour)


RED, GREEN, BLUE = plain((255, 0, 0)), plain((0, 255, 0)), plain((0, 0, 255))


def test_added_pictures_are_found_by_words_under_their_names(library: Library) -> None:
    ids = library.add(images=[RED, np.asarray(GREEN)], names=["a", "b/c"])
    hit = library.search("green", k=1)[0]
    assert (hit.id, hit.path, hit.online, hit.width, hit.height, hit.text) == (
        ids[1], "added:b/c", True, 20, 10, None
    )  # fmt: skip
    assert hit.score == pytest.approx(1, abs=1e-3)


def test_added_texts_are_found_by_a_picture(library: Library) -> None:
    ids = library.add(texts=["red", "blue"])
    hit = library.search(image=BLUE, k=1)[0]
    assert (hit.id, hit.text, hit.size) == (ids[1], "blue", 4)
    assert hit.path.startswith("added:")


@pytest.mark.parametrize("form", ["bytes", "file", "base64", "data URI", "Pillow", "array"])
def test_every_form_of_a_picture_in_memory_can_be_added(library: Library, form: str) -> None:
    file = io.BytesIO()
    RED.save(file, "PNG")
    data = file.getvalue()
    written = base64.b64encode(data).decode()
    image = {
        "bytes": data,
        "file": io.BytesIO(data),
        "base64": written,
        "data URI": f"data:image/png;base64,{written}",
        "Pillow": RED,
        "array": np.asarray(RED),
    }[form]
    library.add(images=image, names="it")
    hit = library.search("red")[0]
    assert (hit.path, hit.width, hit.height) == ("added:it", 20, 10)
    assert hit.size == (len(data) if form not in ("Pillow", "array") else 20 * 10 * 3)


def test_the_bytes_of_an_indexed_file_are_not_encoded_again(library: Library, paint: Paint) -> None:
    path = paint("red.png")
    library.index(path)
    vectors = library.stats().vectors
    library.add(images=path.read_bytes(), names="copy")
    assert library.stats().vectors == vectors
    hit = library.search("red", k=2)[1]
    assert (hit.path, hit.width) == ("added:copy", 16)


def test_the_same_twice_is_one_item_and_changes_nothing(library: Library) -> None:
    first = library.add(images=[RED, RED])
    assert first[0] == first[1]
    generation = library.stats().generation
    assert library.add(images=RED) == first[:1]
    assert library.stats().generation == generation
    assert library.stats().items == 1


def test_a_name_that_exists_gets_the_new_content_and_keeps_its_id(library: Library) -> None:
    ids = library.add(images=RED, names="flag")
    assert library.add(images=BLUE, names="flag") == ids
    assert [hit.path for hit in library.search("blue")] == ["added:flag"]
    assert library.search("blue")[0].score == pytest.approx(1, abs=1e-3)


def test_indexing_later_leaves_what_was_added_alone(library: Library, pictures: Path) -> None:
    library.add(images=RED, names="kept")
    report = library.index(pictures)
    assert (report.added, report.removed, report.offline) == (4, 0, 0)
    assert library.index().removed == 0
    assert "added:kept" in [item.path for item in library.items()]
    assert library.stats().roots == (str(pictures),)


def test_what_was_added_is_removed_by_its_path_its_id_or_its_folder(library: Library) -> None:
    ids = library.add(images=[RED, GREEN, BLUE, plain((9, 9, 9))], names=["r", "g", "x/b", "x/y/grey"])
    assert library.remove(["added:r", ids[1]]) == 2
    assert library.remove(["added:x"]) == 2
    assert library.stats().items == 0
    with pytest.raises(InputError, match="added:r is not in library"):
        library.remove(["added:r"])


def test_a_library_of_nothing_but_added_items_opens_again(library: Library, tmp_path: Path) -> None:
    ids = library.add(texts=["red"], names=["caption"])
    library.close()
    with Library.open(tmp_path / "library") as again:
        item = again.get(ids[0])
        assert item is not None
        assert (item.path, item.text) == ("added:caption", "red")
        assert again.index().unchanged == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, "either images or texts"),
        ({"images": [RED], "texts": ["red"]}, InputError, "either images or texts"),
        ({"images": [RED], "names": []}, InputError, "1 things to add and 0 names"),
        ({"images": [RED, BLUE], "names": ["a", "a"]}, InputError, "'a' names more than one thing"),
        ({"images": [RED], "names": [""]}, InputError, "name 0 is ''"),
        ({"images": [RED], "names": [3]}, InputError, "name 0 is 3"),
        ({"images": ["red.png"]}, InputError, "image 0 is the path 'red.png'"),
        ({"images": [Path("red.png")]}, InputError, "library.index"),
        ({"images": [RED, b"no picture"]}, ImageError, "image 1"),
        ({"images": [np.zeros((3, 3))]}, ImageError, "float64"),
        ({"texts": ["red", " "]}, TextError, "text 1"),
    ],
)
def test_what_cannot_be_added_is_named_and_nothing_is_added(
    library: Library, arguments: dict[str, object], error: type[CrosslensError], message: str
) -> None:
    library.add(images=GREEN)
    with pytest.raises(error, match=message):
        library.add(**arguments)  # type: ignore[arg-type]
    assert library.stats().items == 1


def test_adding_is_refused_while_another_process_writes(library: Library) -> None:
    library.add(images=RED)
    with writer_lock(library.folder), pytest.raises(LibraryBusyError):
        library.add(images=BLUE)


def test_another_model_is_refused(library: Library, tmp_path: Path) -> None:
    library.add(images=RED)
    library.close()
    with pytest.raises(LibraryModelError):
        Library.open(tmp_path / "library", "starter")
