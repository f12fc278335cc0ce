"""Stage 1: which files a walk finds, in which order, and what it says about the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from crosslens.images.folder_walk import has_image_name, walk
from crosslens.types import Item


class Walk(NamedTuple):
    """What one walk yielded and reported, paths relative to its root."""

    found: list[str]
    errors: dict[str, str]
    ignored: dict[str, str]


def walked(root: Path, *, skip: frozenset[str] = frozenset()) -> Walk:
    errors: dict[str, str] = {}
    ignored: dict[str, str] = {}
    items = walk(str(root), skip=skip, on_error=errors.__setitem__, on_ignored=ignored.__setitem__)
    found = [os.path.relpath(item.path, root) for item in items]
    return Walk(found, _below(errors, root), _below(ignored, root))


def _below(reasons: dict[str, str], root: Path) -> dict[str, str]:
    return {os.path.relpath(path, root): reason for path, reason in reasons.items()}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_pictures_are_found_at_every_depth_sorted_within_each_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "z/2.png", "z/1.png", "c/deep/er/3.gif", "c/0.webp")
    assert walked(tmp_path).found == ["a.jpg", "b.jpg", "c/0.webp", "c/deep/er/3.gif", "z/1.png", "z/2.png"]


def test_an_empty_folder_holds_nothing_and_is_no_error(tmp_path: Path) -> None:
    assert walked(tmp_path) == ([], {}, {})


def test_an_item_carries_path_size_and_modification_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    never = dict[str, str]().__setitem__
    items = list(walk(str(tmp_path), skip=frozenset(), on_error=never, on_ignored=never))
    assert items == [Item(str(path), 5, 1_700_000_000_123_456_789)]


def test_a_file_given_as_root_counts_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "picture.of.mine")
    assert walked(tmp_path / "picture.of.mine").found == ["."]


def test_a_missing_root_is_reported(tmp_path: Path) -> None:
    found, errors, _ = walked(tmp_path / "gone")
    assert not found
    assert "No such file" in errors["."]


def test_other_files_are_reported_as_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "notes.txt", "sub/Makefile")
    found, errors, ignored = walked(tmp_path)
    assert found == ["a.jpg"]
    assert not errors
    assert set(ignored) == {"notes.txt", "sub/Makefile"}
    assert all("not that of a picture" in reason for reason in ignored.values())


def test_hidden_files_and_folders_are_left_out_without_a_word(tmp_path: Path) -> None:
    touch(tmp_path, ".a.jpg", ".thumbnails/b.jpg", ".notes", "c.jpg")
    assert walked(tmp_path) == (["c.jpg"], {}, {})


def test_a_hidden_folder_given_as_root_is_entered(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.jpg")
    assert walked(tmp_path / ".photos").found == ["a.jpg"]


def test_folders_to_skip_are_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "keep/a.jpg", "leave/b.jpg", "leave/below/c.jpg")
    assert walked(tmp_path, skip=frozenset({str(tmp_path / "leave")})) == (["keep/a.jpg"], {}, {})


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "album.jpg/a.jpg")
    assert walked(tmp_path).found == ["album.jpg/a.jpg"]


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert walked(tmp_path / "root").found == ["link/a.jpg"]


def test_a_folder_reached_by_two_names_is_entered_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert walked(tmp_path).found == ["a/1.jpg"]


def test_a_link_upwards_does_no_harm(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert walked(tmp_path) == (["sub/a.jpg"], {}, {})


def test_a_linked_picture_is_found_under_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert walked(tmp_path).found == ["a.jpg", "b.jpg"]


def test_a_broken_link_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg")
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    found, errors, _ = walked(tmp_path)
    assert found == ["z.jpg"]
    assert "No such file" in errors["a.jpg"]


def test_a_link_to_itself_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg")
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    found, errors, _ = walked(tmp_path)
    assert found == ["z.jpg"]
    assert set(errors) == {"a.jpg"}


def test_a_pipe_named_like_a_picture_is_no_picture(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg")
    os.mkfifo(tmp_path / "a.jpg")  # whoever opens it waits for ever
    found, errors, ignored = walked(tmp_path)
    assert found == ["z.jpg"]
    assert "a.jpg" in errors | ignored


def test_a_folder_that_vanishes_during_the_walk_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "sub/b.jpg", "tub/c.jpg")
    errors: dict[str, str] = {}
    items = walk(str(tmp_path), skip=frozenset(), on_error=errors.__setitem__, on_ignored={}.__setitem__)
    assert next(items).path == str(tmp_path / "a.jpg")
    shutil.rmtree(tmp_path / "sub")
    assert [item.path for item in items] == [str(tmp_path / "tub" / "c.jpg")]
    assert list(errors) == [str(tmp_path / "sub")]
    assert "cannot be read" in errors[str(tmp_path / "sub")]


def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "closed/a.jpg", "open/b.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:  # file modes do not stop root, which runs tests in containers
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, errors, _ = walked(tmp_path)
    assert found == ["open/b.jpg"]
    assert "Permission denied" in errors["closed"]


def test_nothing_is_looked_at_before_it_is_asked_for(tmp_path: Path) -> None:
    never = dict[str, str]().__setitem__
    items = walk(str(tmp_path / "later"), skip=frozenset(), on_error=never, on_ignored=never)
    touch(tmp_path, "later/a.jpg")
    assert [item.path for item in items] == [str(tmp_path / "later" / "a.jpg")]


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    touch(tmp_path, name)
    assert walked(tmp_path).found == [name]


# ---------------------------------------------------------------- .crosslensignore

NAMED = "named in .crosslensignore"


def ignore(root: Path, text: str | bytes, folder: str = ".") -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (root / folder / ".crosslensignore").write_bytes(data)


def test_what_an_ignore_file_names_is_ignored_and_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "draft-1.jpg", "deep/er/draft-2.png", "deep/b.jpg", "raw/c.jpg", "raw/d.txt")
    ignore(tmp_path, "# not these\ndraft-*\n\nraw/\n")
    found, errors, ignored = walked(tmp_path)
    assert found == ["a.jpg", "deep/b.jpg"]
    assert not errors
    assert ignored == {"draft-1.jpg": NAMED, "deep/er/draft-2.png": NAMED, "raw": NAMED}


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("a.jpg", ["sub/b.jpg", "sub/deep/b.jpg", "x.jpg"]),
        ("/a.jpg", ["sub/a.jpg", "sub/b.jpg", "sub/deep/b.jpg", "x.jpg"]),
        ("sub/", ["a.jpg", "x.jpg"]),
        ("sub/*", ["a.jpg", "x.jpg"]),
        ("sub/*.jpg", ["a.jpg", "sub/deep/b.jpg", "x.jpg"]),
        ("sub/**/b.jpg", ["a.jpg", "sub/a.jpg", "x.jpg"]),
        ("**/deep", ["a.jpg", "sub/a.jpg", "sub/b.jpg", "x.jpg"]),
        ("*.jpg\n!b.jpg", ["sub/b.jpg", "sub/deep/b.jpg"]),
        ("sub\n!sub/b.jpg", ["a.jpg", "x.jpg"]),  # as in git: nothing comes back from an ignored folder
        ("[ab].jpg", ["x.jpg"]),
        ("?.jpg", []),
        ("a.jpg/", ["a.jpg", "sub/a.jpg", "sub/b.jpg", "sub/deep/b.jpg", "x.jpg"]),
        ("A.JPG", ["a.jpg", "sub/a.jpg", "sub/b.jpg", "sub/deep/b.jpg", "x.jpg"]),
        ("x.jpg\r\nsub\r\n", ["a.jpg"]),
        ("\ufeffsub", ["a.jpg", "x.jpg"]),
        ("*", []),
    ],
)
def test_patterns_are_those_of_gitignore(pattern: str, left: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "x.jpg", "sub/a.jpg", "sub/b.jpg", "sub/deep/b.jpg")
    ignore(tmp_path, pattern)
    assert sorted(walked(tmp_path).found) == left


def test_an_ignore_file_holds_below_its_folder_and_the_nearest_has_the_last_word(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "in/a.jpg", "in/b.jpg", "in/deep/a.jpg", "out/b.jpg")
    ignore(tmp_path, "a.jpg")
    ignore(tmp_path, "b.jpg\n!/a.jpg", "in")
    assert walked(tmp_path).found == ["in/a.jpg", "out/b.jpg"]


def test_ignored_names_may_be_in_any_script_or_in_none(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9.jpg")
    touch(
        tmp_path,
        "猫.jpg",
        "Ünï.jpg",
        "кот/a.jpg",
        strange,
        "two\nlines/draft.jpg",
        "two\nlines/b.jpg",
        "z.jpg",
    )
    ignore(tmp_path, "猫.*\nÜnï.jpg\nкот/\ndraft.jpg\n".encode() + b"caf\xe9.jpg\n")
    found, errors, ignored = walked(tmp_path)
    assert found == ["z.jpg", "two\nlines/b.jpg"]
    assert not errors
    assert set(ignored) == {"猫.jpg", "Ünï.jpg", "кот", strange, "two\nlines/draft.jpg"}


def test_hidden_files_stay_hidden_whatever_an_ignore_file_says(tmp_path: Path) -> None:
    touch(tmp_path, ".a.jpg", "b.jpg")
    ignore(tmp_path, "!.a.jpg")
    assert walked(tmp_path) == (["b.jpg"], {}, {})


def test_what_is_ignored_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").symlink_to("gone.jpg")
    ignore(tmp_path, "broken.jpg")
    assert walked(tmp_path) == ([], {}, {"broken.jpg": NAMED})


@pytest.mark.parametrize("bad", ["!", "a\\", "[z-a].jpg", "/"])
def test_a_line_that_is_no_pattern_is_reported_and_the_others_hold(bad: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    ignore(tmp_path, f"# first\n{bad}\na.jpg\n[[:alpha:]]x\n")
    found, errors, _ = walked(tmp_path)
    assert found == ["b.jpg"]
    assert list(errors) == [".crosslensignore"]
    assert errors[".crosslensignore"].startswith("line 2 is no pattern: ")


def test_an_ignore_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg", "d/4.jpg")
    (tmp_path / "a" / ".crosslensignore").mkdir()
    os.mkfifo(tmp_path / "b" / ".crosslensignore")  # whoever opens it waits for ever
    (tmp_path / "c" / ".crosslensignore").symlink_to("gone")
    with (tmp_path / "d" / ".crosslensignore").open("wb") as file:
        file.truncate(2 << 20)
    found, errors, _ = walked(tmp_path)
    assert found == ["a/1.jpg", "b/2.jpg", "c/3.jpg", "d/4.jpg"]
    assert {path.split("/")[0]: reason for path, reason in errors.items()} == {
        "a": "this is no regular file",
        "b": "this is no regular file",
        "c": "the file cannot be read (No such file or directory)",
        "d": "2,097,152 bytes are too many for an ignore file",
    }


@pytest.mark.parametrize("name", ["a.jpg", "A.JPG", "b.c.Jpeg", "/x/y.z/c.webp", "d.tif", ".jpg.png"])
def test_names_of_pictures(name: str) -> None:
    assert has_image_name(name)


@pytest.mark.parametrize("name", ["", "jpg", ".jpg", "a.jpg.txt", "a.jpg/", "a.pdf", "a.svg", "x.jpg/readme"])
def test_names_of_other_things(name: str) -> None:
    assert not has_image_name(name)
