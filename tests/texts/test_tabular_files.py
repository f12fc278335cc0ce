"""Tables come in row by row, each complaint with its line; vectors go out whole, with their ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import InputError
from crosslens.texts.tabular_files import column, read_table, write_vectors

ROWS = [{"picture": "a.jpg", "caption": 'two, "dogs"'}, {"picture": "b.jpg", "caption": "naïve\ncafé"}]


def write(path: Path) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        __import__("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [f"picture{mark}caption", f'a.jpg{mark}"two, ""dogs"""', f'b.jpg{mark}"naïve\ncafé"']
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    assert list(read_table(write(tmp_path / f"table{suffix}"))) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is no table that can be read"),
        ("a.csv", b"x,y\n1,2,3\n", "line 2 has more values"),
        ("a.csv", b"x\n\xff\n", "is not UTF-8"),
        ("a.jsonl", b'{"x": 1}\n{"x"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("a.parquet", b"PAR1 no", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_table(str(tmp_path / name)))


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    rows = iter([{"a": 1, "c": None}])
    with pytest.raises(InputError, match=r"t: row 1 has no 'b'\. Its columns are 'a', 'c'"):
        list(column(rows, "b", "t"))
    assert list(column(iter([{"a": 1}, {"a": None}, {}]), "a", "t")) == [
        ({"a": 1}, "1"), ({"a": None}, ""), ({}, "")
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"t: row 1 has \['x'\] for 'a'\. Wanted a text"):
        list(column(iter([{"a": ["x"]}]), "a", "t"))


VECTORS = np.arange(6, dtype=np.float32).reshape(2, 3)
IDS = ["a.jpg", "naïve \udcff"]


def test_npy_has_the_ids_beside_it(tmp_path: Path) -> None:
    write_vectors(str(tmp_path / "v.npy"), IDS, VECTORS)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)
    assert json.loads((tmp_path / "v.ids.json").read_text()) == IDS
    assert len(list(tmp_path.iterdir())) == 2


def test_safetensors_has_the_ids_in_its_metadata(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    write_vectors(str(tmp_path / "v.safetensors"), IDS, VECTORS)
    with safetensors.safe_open(tmp_path / "v.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("vectors"), VECTORS)
        assert json.loads(file.metadata()["ids"]) == IDS


def test_parquet_has_a_row_to_a_vector(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_vectors(str(tmp_path / "v.parquet"), ["a", "b"], VECTORS)
    rows = parquet.read_table(tmp_path / "v.parquet").to_pylist()
    assert rows == [{"id": "a", "vector": [0, 1, 2]}, {"id": "b", "vector": [3, 4, 5]}]
