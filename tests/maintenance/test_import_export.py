"""Export and import: what goes out comes in again, and what does not belong stays out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import InputError, LibraryModelError, LibraryNotFoundError
from crosslens.maintenance.import_export import export_vectors, import_vectors
from crosslens.maintenance.integrity_check import verify
from crosslens.towers.fake_model import FAKE_SPEC


@pytest.fixture
def library(tmp_path: Path, fake: Matcher, pictures: Path) -> Library:
    """A library of four pictures and a text."""
    library = Library.open(tmp_path / "library", fake)
    library.index(pictures)
    library.add(texts="a red wall", names="wall")
    return library


@pytest.fixture
def other(tmp_path: Path, fake: Matcher) -> Library:
    """An empty one."""
    return Library.open(tmp_path / "other", fake)


def found(library: Library, kind: str = "image") -> list[tuple[str, float]]:
    return [(hit.path, hit.score) for hit in library.search("red", kind=kind)]  # type: ignore[arg-type]


def write(path: Path, paths: list[str], vectors: list[list[float]], **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"path": paths, "vector": vectors, **columns}), path)
    return path


RED, BLUE = [1.0, 0, 0, 0], [0, 0, 2.0, 0]


# -- out and in again -----------------------------------------------------------------------------


def test_a_parquet_file_holds_everything_and_comes_in_as_it_was(
    library: Library, other: Library, tmp_path: Path, pictures: Path
) -> None:
    assert export_vectors(library, tmp_path / "out.parquet").items == 5
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "path", "text", "width", "height", "size", "modified", "vector"]
    assert table["width"].to_pylist() == [16, 16, 16, 16, 0]
    done = import_vectors(other, tmp_path / "out.parquet")
    assert (done.imported, done.away, done.known, done.changed) == (5, 0, 0, 0)
    assert found(other) == found(library)
    assert found(other, "text") == found(library, "text") == [("added:wall", 1.0)]
    assert verify(other.folder).clean
    report = other.index()
    assert (report.unchanged, report.encoded) == (4, 0)
    assert other.stats().roots == (str(pictures),)


def test_clip_retrievals_layout_holds_the_pictures_and_comes_in_as_it_was(
    library: Library, other: Library, tmp_path: Path
) -> None:
    done = export_vectors(library, tmp_path / "out")
    assert (done.items, done.left_out) == (4, 1)
    vectors = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy")
    assert vectors.shape == (4, 4)
    metadata = pyarrow.parquet.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet")
    assert metadata.column_names[:2] == ["image_path", "caption"]
    assert import_vectors(other, tmp_path / "out").imported == 4
    assert found(other) == found(library)
    assert verify(other.folder).clean


def test_a_second_import_changes_nothing(library: Library, other: Library, tmp_path: Path) -> None:
    export_vectors(library, tmp_path / "out.parquet")
    import_vectors(other, tmp_path / "out.parquet")
    before = other.stats().generation, str(list(other.items()))
    done = import_vectors(other, tmp_path / "out.parquet")
    assert (done.imported, done.known) == (0, 5)
    assert (other.stats().generation, str(list(other.items()))) == before


def test_a_target_that_exists_is_left_alone_and_a_failed_export_is_not_there(
    library: Library, other: Library, tmp_path: Path
) -> None:
    (tmp_path / "out.parquet").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        export_vectors(library, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_text() == "mine"
    with pytest.raises(LibraryNotFoundError):
        export_vectors(other, tmp_path / "nothing.parquet")
    library.add(texts="x", names="caf\udce9")
    with pytest.raises(InputError, match="UTF-8"):
        export_vectors(library, tmp_path / "new.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["library", "out.parquet", "pictures"]


# -- files that are here, changed, away -----------------------------------------------------------


def test_changed_files_are_left_to_index_and_those_away_are_kept_under_their_names(
    library: Library, other: Library, tmp_path: Path, pictures: Path, paint: Callable[..., Path]
) -> None:
    export_vectors(library, tmp_path / "out.parquet")
    paint("red.png", "cyan", (20, 20))
    (pictures / "blue.png").unlink()
    done = import_vectors(other, tmp_path / "out.parquet")
    assert (done.imported, done.away, done.changed) == (4, 1, 1)
    paths = {path for path, _ in found(other)}
    assert f"added:{pictures}/blue.png" in paths
    assert other.index().encoded == 1  # red.png, as it is now
    assert verify(other.folder).clean


def test_what_is_no_picture_is_counted_and_left_out(other: Library, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    source = write(tmp_path / "in.parquet", [str(tmp_path / "x.png")], [RED])
    assert import_vectors(other, source, stated=True).unreadable == 1


def test_only_the_topmost_folders_of_what_came_in_become_indexed_folders(
    other: Library, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    files = [paint("a/red.png"), paint("a/b/blue.png"), paint("c/blue.png")]
    source = write(tmp_path / "in.parquet", [str(file) for file in files], [RED, BLUE, BLUE])
    assert import_vectors(other, source, stated=True).imported == 3
    assert other.stats().roots == (str(files[0].parent), str(files[2].parent))
    assert other.index().unchanged == 3


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vector", "why"),
    [
        ([1.0, 0, 0], r"shape \(3,\), wanted \(4,\)"),
        ([float("nan"), 0, 0, 0], "not finite"),
        ([0.0, 0, 0, float("inf")], "not finite"),
        ([0.0, 0, 0, 0], "zero"),
        (None, "shape"),
    ],
)
def test_a_vector_that_is_none_is_refused_with_its_row_and_nothing_comes_in(
    other: Library, tmp_path: Path, vector: list[float], why: str
) -> None:
    source = write(tmp_path / "in.parquet", ["a.jpg", "b.jpg"], [RED, vector])
    with pytest.raises(InputError, match=rf"row 2 \(b.jpg\) has a vector .*{why}"):
        import_vectors(other, source, stated=True)
    assert not other.folder.exists()


def test_vectors_are_brought_to_unit_length(other: Library, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", ["a.jpg"], [[30.0, 0, 0, 40.0]])
    import_vectors(other, source, stated=True)
    assert found(other) == [("added:a.jpg", pytest.approx(0.6, abs=1e-3))]


def test_a_model_that_is_not_stated_or_another_is_refused(
    library: Library, other: Library, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.parquet", ["a.jpg"], [RED])
    with pytest.raises(LibraryModelError, match="State it with --model"):
        import_vectors(other, source)
    export_vectors(library, tmp_path / "out")
    note = tmp_path / "out" / "crosslens.json"
    note.write_text(json.dumps({"name": "clip", "identity": "0" * 32, "dimension": 4}))
    with pytest.raises(LibraryModelError, match="are of model 'clip'"):
        import_vectors(other, tmp_path / "out", stated=True)


def test_vectors_that_pictures_here_do_not_have_are_refused_though_their_model_is_stated(
    other: Library, tmp_path: Path, pictures: Path
) -> None:
    source = write(tmp_path / "in.parquet", [str(pictures / "red.png")], [BLUE])
    with pytest.raises(InputError, match=r"of 1 pictures encoded again, they have a cosine of 0\.00"):
        import_vectors(other, source, stated=True)


@pytest.mark.parametrize("name", ["x.parquet", "x.db", "x"])
def test_what_is_no_source_is_refused(other: Library, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=str(tmp_path / name)):
        import_vectors(other, tmp_path / name, stated=True)
    with pytest.raises(InputError):
        import_vectors(other, tmp_path / "nowhere", stated=True)


def test_columns_that_are_missing_and_rows_that_do_not_fit_are_named(
    library: Library, other: Library, tmp_path: Path
) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"id": [1]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="no column 'path'"):
        import_vectors(other, tmp_path / "in.parquet", stated=True)
    export_vectors(library, tmp_path / "out")
    np.save(tmp_path / "out" / "img_emb" / "img_emb_0.npy", np.eye(4)[:3])
    with pytest.raises(InputError, match=r"has 4 rows.* 3"):
        import_vectors(other, tmp_path / "out")


# -- rclip ----------------------------------------------------------------------------------------


@pytest.fixture
def rclip(tmp_path: Path, pictures: Path) -> Path:
    """A database as rclip 3.3 writes it: red.png, blue.png, and one that was deleted."""
    path = tmp_path / "db.sqlite3"
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE images (id INTEGER PRIMARY KEY, deleted BOOLEAN, filepath TEXT NOT NULL UNIQUE, "
        "modified_at DATETIME NOT NULL, size INTEGER NOT NULL, vector BLOB NOT NULL, "
        "indexing BOOLEAN, hash TEXT)"
    )
    for name, vector, deleted in (("red", RED, None), ("blue", BLUE, None), ("green", RED, 1)):
        status = (pictures / f"{name}.png").stat()
        blob = np.array(vector, "<f4").tobytes()
        row = (deleted, str(pictures / f"{name}.png"), status.st_mtime, status.st_size, blob)
        db.execute(
            "INSERT INTO images (deleted, filepath, modified_at, size, vector) VALUES (?, ?, ?, ?, ?)", row
        )
    db.commit()
    db.close()
    return path


def test_an_rclip_database_comes_in_when_its_model_is_stated(
    rclip: Path, other: Library, pictures: Path
) -> None:
    with pytest.raises(LibraryModelError, match=r"rclip's are of OpenCLIP's ViT-B-32-256, datacomp"):
        import_vectors(other, rclip)
    done = import_vectors(other, rclip, stated=True)
    assert (done.imported, done.away) == (2, 0)
    assert found(other)[0] == (str(pictures / "red.png"), 1.0)
    assert other.index().encoded == 2  # green.png and yellow.png
    assert verify(other.folder).clean


def test_vectors_of_another_width_than_the_librarys_model_are_refused(
    rclip: Path, tmp_path: Path, starter: Matcher
) -> None:
    with (
        Library.open(tmp_path / "wide", starter) as library,
        pytest.raises(InputError, match=rf"row 1 .*shape \(4,\), wanted \({starter.dimension},\)"),
    ):
        import_vectors(library, rclip, stated=True)


# -- at the command line --------------------------------------------------------------------------


def test_the_commands_say_what_they_did(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    assert main(["export", str(tmp_path / "out"), "-L", str(library.folder)]) == 0
    assert "4 items with their vectors in" in capsys.readouterr().out
    new = str(tmp_path / "new")
    assert main(["import", str(tmp_path / "out"), "-L", new, "--model", FAKE_SPEC.name]) == 0
    assert capsys.readouterr().out.startswith("4 imported\nlibrary")
    assert main(["import", str(tmp_path / "out"), "-L", new, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 4
