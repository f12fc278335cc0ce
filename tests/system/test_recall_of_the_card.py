"""The starter on real pictures: what its card says is what the whole chain gives."""

import tempfile
from pathlib import Path

import pytest

import recall
from crosslens import Library

pytestmark = pytest.mark.shared

# text → image and image → text, recall@1, 5, 10 in percent, from the starter's card.
CARD_TO_IMAGE = (24.4, 52.4, 66.5)
CARD_TO_TEXT = (28.4, 58.0, 71.3)


@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_recall_on_flickr8k_is_what_the_card_says(shared: Path) -> None:
    data = shared / "eval" / "flickr8k-test"
    to_image, to_text = recall.by_matcher("starter", data, recall.read_captions(data))
    assert recall.from_ranks(to_image) == pytest.approx(CARD_TO_IMAGE, abs=0.5)
    assert recall.from_ranks(to_text) == pytest.approx(CARD_TO_TEXT, abs=0.5)


@pytest.mark.filterwarnings("ignore::crosslens.errors.TextTruncatedWarning")
def test_the_command_line_finds_the_same(shared: Path) -> None:
    data = shared / "eval" / "flickr8k-test"
    captions = recall.read_captions(data)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "library"
        with Library.open(where) as library:
            assert library.index(data / "images").added == 1000
        assert recall.from_ranks(recall.by_command(where, captions)) == pytest.approx(CARD_TO_IMAGE, abs=0.5)


def test_photos_of_every_shape_find_themselves(shared: Path, tmp_path: Path) -> None:
    with Library.open(tmp_path / "library") as library:
        report = library.index(shared / "eval" / "photos")
        assert (report.added, report.failures) == (125, ())
        for path in sorted((shared / "eval" / "photos").glob("*.jpg"))[::10]:
            hit = library.search(image=path, k=1)[0]
            assert hit.path == str(path)
            assert hit.score > 0.999
