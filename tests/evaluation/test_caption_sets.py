"""Image–caption sets from disk, in every form that is read, and what is said of others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from crosslens import Matcher
from crosslens.errors import InputError
from crosslens.evaluation import Pairs, evaluate_retrieval, load_pairs

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(paint: Callable[..., Path]) -> Path:
    """A folder with images/red.png, green.png and blue.png."""
    paths = [paint(f"images/{colour}.png", colour) for colour in COLOURS]
    return paths[0].parents[1]


def as_csv(folder: Path) -> Path:
    lines = [f'{colour}.png,"something {colour}, and more"\n{colour}.png,{colour}' for colour in COLOURS]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *lines]) + "\n")
    return folder / "captions.csv"


def as_tsv(folder: Path) -> Path:
    lines = [f"images/{colour}.png\tsomething {colour}\nimages/{colour}.png\t{colour}" for colour in COLOURS]
    (folder / "list.tsv").write_text("\n".join(["Image\tText", *lines]) + "\n")
    return folder / "list.tsv"


def as_jsonl(folder: Path) -> Path:
    lines = [{"file_name": f"{c}.png", "captions": [c, f"something {c}"]} for c in COLOURS]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def as_karpathy(folder: Path) -> Path:
    images = [
        {"filepath": "images", "filename": f"{c}.png", "split": "test",
         "sentences": [{"raw": c}, {"raw": f"something {c}"}]}
        for c in COLOURS
    ]  # fmt: skip
    images.append({"filename": "gone.png", "split": "train", "sentences": [{"raw": "gone"}]})
    (folder / "dataset_colours.json").write_text(json.dumps({"images": images, "dataset": "colours"}))
    return folder


def as_coco(folder: Path) -> Path:
    images = [{"id": number, "file_name": f"{c}.png"} for number, c in enumerate(COLOURS)]
    notes = [
        {"image_id": number, "caption": text}
        for number, c in enumerate(COLOURS)
        for text in (c, f"something {c}")
    ]
    (folder / "captions_val.json").write_text(json.dumps({"images": images, "annotations": notes}))
    return folder / "captions_val.json"


def as_parquet(folder: Path) -> Path:
    """In two pieces, one with bytes and one with structs, several texts to a row."""
    data = [(folder / "images" / f"{colour}.png").read_bytes() for colour in COLOURS]
    texts = [[c, f"something {c}"] for c in COLOURS]
    (folder / "set").mkdir()
    write(folder / "set" / "a-0.parquet", {"image": data[:1], "texts": texts[:1]})
    structs = [{"bytes": line, "path": None} for line in data[1:]]
    write(folder / "set" / "a-1.parquet", {"image": structs, "texts": texts[1:]})
    return folder / "set"


def write(path: Path, columns: dict[str, list[object]]) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


FORMS = (as_csv, as_tsv, as_jsonl, as_karpathy, as_coco, as_parquet)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_figures(folder: Path, fake: Matcher, form: Callable[[Path], Path]) -> None:
    data = form(folder)
    pairs = load_pairs(data, split="test" if form is as_karpathy else None)
    assert len(pairs.images) == 3
    assert len(pairs.texts) == 6
    report = evaluate_retrieval(fake, pairs, resamples=0)
    assert not report.failures
    assert report.retrieval.text_to_image["recall@1"] == 1.0
    assert report.retrieval.image_to_text["recall@1"] == 0.5
    assert report.retrieval.image_to_text["hit@1"] == 1.0


def test_one_split_and_other_conditions(folder: Path) -> None:
    rows = ["image,text,split,source", "red.png,red,val,a", "green.png,green,val,b", "blue.png,blue,train,a"]
    (folder / "pairs.csv").write_text("\n".join(rows))
    assert load_pairs(folder, split="val").texts == ("red", "green")
    found = load_pairs(folder, split="val", where={"source": "a"})
    assert (found.texts, found.name) == (("red",), f"{folder.name}, source = a, split = val")
    with pytest.raises(InputError, match=r"no row has split = test\. There is split: val, train"):
        load_pairs(folder, split="test")
    with pytest.raises(InputError, match="has no 'lang'"):
        load_pairs(folder, where={"lang": "en"})


def test_graded_relevance(folder: Path, fake: Matcher) -> None:
    rows = ["query,image,relevance",
            "red,red.png,3", "red,green.png,1", "red,blue.png,0", "green,green.png,2",
            "nothing,blue.png,0"]  # fmt: skip
    (folder / "qrels.csv").write_text("\n".join(rows))
    pairs = load_pairs(folder)
    assert pairs.texts == ("red", "green", "nothing")
    found = evaluate_retrieval(fake, pairs, resamples=0, cutoffs=(1, 2)).retrieval.text_to_image
    assert found.uncounted == 1
    # Of "red", blue ties with green: by the rule it comes first, so only the 3 is gained among two.
    ideal = 3 + 1 / np.log2(3)
    assert found["ndcg@2"] == pytest.approx((3 / ideal + 1) / 2)
    assert found["recall@1"] == pytest.approx((0.5 + 1) / 2)


def test_labels_say_what_is_right(folder: Path) -> None:
    (folder / "rows.csv").write_text("image,text,match\nred.png,red,yes\nred.png,blue,no\nblue.png,blue,1\n")
    pairs = load_pairs(folder, label_column="match")
    assert pairs.labels is not None
    assert pairs.labels.tolist() == [1, 0, 1]
    assert pairs.relevance.queries.tolist() == [0, 2]
    with pytest.raises(InputError, match=r"rows\.csv: row 1 has the label 'red'"):
        load_pairs(folder, label_column="text")


def test_a_picture_that_cannot_be_read_is_left_out_with_its_captions(folder: Path, fake: Matcher) -> None:
    as_csv(folder)
    (folder / "images" / "green.png").write_bytes(b"no picture")
    report = evaluate_retrieval(fake, load_pairs(folder), resamples=0)
    assert [Path(failure.path).name for failure in report.failures] == ["green.png"]
    assert report.retrieval.text_to_image.answers == 2
    assert len(report.pairs.texts) == 4
    assert report.retrieval.text_to_image["recall@1"] == 1.0


def test_the_same_picture_is_one_picture() -> None:
    pairs = Pairs.of([(b"a", "x"), (b"b", "y"), (b"a", "z")])
    assert pairs.text_to_image.tolist() == [0, 1, 0]
    assert pairs.image_ids == ("pair 0", "pair 1")


def test_what_is_not_clear_is_asked(folder: Path) -> None:
    (folder / "a.csv").write_text("left,right\nred.png,red\n")
    with pytest.raises(
        InputError, match=r"not clear which column has the picture\. Its columns are 'left', 'right'"
    ):
        load_pairs(folder)
    assert load_pairs(folder, image_column="left", text_column="right").texts == ("red",)
    (folder / "b.csv").write_text("image,text\nred.png,red\n")
    with pytest.raises(InputError, match=r"several tables: a\.csv, b\.csv"):
        load_pairs(folder)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_pairs(tmp_path / "gone")
    with pytest.raises(InputError, match="no table in this folder"):
        load_pairs(tmp_path)
    (tmp_path / "x.json").write_text('{"rows": []}')
    with pytest.raises(InputError, match="neither Karpathy's JSON nor COCO's"):
        load_pairs(tmp_path / "x.json")
    (tmp_path / "x.json").unlink()
    (tmp_path / "empty.csv").write_text("image,text\n")
    with pytest.raises(InputError, match="no row"):
        load_pairs(tmp_path)


@pytest.mark.shared
def test_flickr8k_is_read_as_published(shared: Path) -> None:
    pairs = load_pairs(shared / "eval" / "flickr8k-test")
    assert (len(pairs.images), len(pairs.texts)) == (1000, 5000)
    assert all(Path(str(path)).is_file() for path in pairs.images)
