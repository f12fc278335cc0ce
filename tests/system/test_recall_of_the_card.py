"""The starter on real pictures: what its card says is what the whole chain gives."""

import tempfile
from pathlib import Path

import pytest

import recall
from crosslens import Library

pytestmark = pytest.mark.shared

# text → image and image → text, recall@1, 5, 10 in percent, from the starter's card.
CARD_TO_IMAGE = (24.9, 53.7, 67.2)
CARD_TO_TEXT = (31.2, 60.1, 71.6)


@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_recall_on_flickr8k_is_what_the_card_says(shared: Path) -> None:
    data = shared / "eval" / "flickr8k-test"
    to_image, to_text = recall.by_matcher("starter", data, recall.read_captions(data))
    assert recall.from_ranks(to_image) == pytest.approx(CARD_TO_IMAGE, abs=0.8)
    assert recall.from_ranks(to_text) == pytest.approx(CARD_TO_TEXT, abs=0.8)


@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_the_command_line_finds_the_same(shared: Path) -> None:
    data = shared / "eval" / "flickr8k-test"
    captions = recall.read_captions(data)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "library"
        with Library.open(where) as library:
            assert library.index(data / "images").added == 1000
        assert recall.from_ranks(recall.by_command(where, captions)) == pytest.approx(CARD_TO_IMAGE, abs=0.8)


def test_photos_of_every_shape_find_themselves(shared: Path, tmp_path: Path) -> None:
    with Library.open(tmp_path / "library") as library:
        report = library.index(shared / "eval" / "photos")
        assert (report.added, report.failures) == (125, ())
        for path in sorted((shared / "eval" / "photos").glob("*.jpg"))[::10]:
            hit = library.search(image=path, k=1)[0]
            assert hit.path == str(path)
            assert hit.score > 0.999
