"""Tags, captions and keywords: kept with the content, found by filters and by quoted words."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from crosslens import Library, Matcher
from crosslens.cli.app import main
from crosslens.errors import InputError, QueryError
from crosslens.images.exif import facts_of
from crosslens.library.query_search import search
from crosslens.maintenance import tagging
from crosslens.maintenance.backup_and_compact import compact
from crosslens.maintenance.integrity_check import verify
from crosslens.search.rank_fusion import fuse
from crosslens.store.fulltext import matching
from crosslens.store.tag_rows import clean_tag, key_of

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Anna on the old bridge</rdf:li>
<rdf:li xml:lang="de">Anna auf der Brücke</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>Anna</rdf:li><rdf:li>Prague</rdf:li></rdf:Bag></dc:subject>
<lr:hierarchicalSubject><rdf:Bag><rdf:li>People|Anna</rdf:li></rdf:Bag></lr:hierarchicalSubject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def jpeg(colour: str = "red", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture
def library(tmp_path: Path, pictures: Path, fake: Matcher) -> Iterator[Library]:
    with Library.open(tmp_path / "library", fake) as library:
        library.index(pictures)
        yield library


def ids(library: Library) -> dict[str, int]:
    return {Path(item.path).stem: item.id for item in library.items()}


def names(hits: list[object]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]  # type: ignore[attr-defined]


# -- tags -----------------------------------------------------------------------------------------


def test_a_tag_finds_what_has_it_and_what_is_below_it(library: Library, pictures: Path) -> None:
    assert tagging.tag(library, pictures / "red.png", "People/Anna") == 1
    assert tagging.tag(library, [ids(library)["blue"]], ["people", "summer 2023"]) == 2
    assert sorted(names(search(library, "tag:PEOPLE"))) == ["blue", "red"]
    assert names(search(library, "tag:people/anna")) == ["red"]
    assert names(search(library, 'tag:"summer 2023"')) == ["blue"]
    assert names(search(library, "tag:peopl")) == []
    assert sorted(names(search(library, "-has:tag"))) == ["green", "yellow"]
    assert tagging.tags(library) == {"people": 1, "People/Anna": 1, "summer 2023": 1}
    assert tagging.tags_of(library, ids(library)["blue"]) == ["people", "summer 2023"]


def test_a_tag_that_is_there_stays_as_it_was_written(library: Library) -> None:
    assert tagging.tag(library, ids(library)["red"], "Straße") == 1
    assert tagging.tag(library, ids(library)["red"], ["STRASSE", " straße "]) == 0
    assert tagging.tags(library) == {"Straße": 1}


def test_copies_and_renamed_and_edited_pictures_have_the_tags(
    library: Library, pictures: Path, paint: Callable[..., Path]
) -> None:
    tagging.tag(library, pictures / "red.png", "keep")
    shutil.copy(pictures / "red.png", pictures / "copy.png")
    (pictures / "red.png").rename(pictures / "renamed.png")
    library.index()
    assert sorted(names(search(library, "tag:keep"))) == ["copy", "renamed"]
    paint("renamed.png", "blue", (20, 20))  # edited in its place
    library.index()
    assert sorted(names(search(library, "tag:keep"))) == ["copy", "renamed"]
    (pictures / "renamed.png").unlink()
    (pictures / "copy.png").unlink()
    library.index()
    assert search(library, "tag:keep") == []
    paint("red.png")  # it comes back
    library.index()
    assert names(search(library, "tag:keep")) == ["red"]


def test_untag_takes_it_away(library: Library, pictures: Path) -> None:
    tagging.tag(library, pictures, "all")
    assert tagging.untag(library, pictures / "red.png", "ALL") == 1
    assert sorted(names(search(library, "tag:all"))) == ["blue", "green", "yellow"]
    with pytest.raises(InputError, match="none of these has the tag 'all'"):
        tagging.untag(library, pictures / "red.png", "all")


@pytest.mark.parametrize("tag", ["", "  ", "/", "a//b", "/a", "a\x00b", "x" * 201])
def test_what_is_no_tag_is_refused(library: Library, tag: str) -> None:
    with pytest.raises(InputError, match="is no tag"):
        tagging.tag(library, ids(library)["red"], tag)


def test_nothing_is_tagged_unless_all_are_there(library: Library, pictures: Path) -> None:
    with pytest.raises(InputError, match="is not in library"):
        tagging.tag(library, [pictures / "red.png", pictures / "gone.png"], "x")
    with pytest.raises(InputError, match="no tag is given"):
        tagging.tag(library, pictures, [])
    assert tagging.tags(library) == {}


@given(st.text(max_size=30))
def test_tags_are_told_apart_by_a_key_that_does_not_change_again(text: str) -> None:
    try:
        tag = clean_tag(text)
    except InputError:
        return
    assert clean_tag(tag) == tag
    assert key_of(key_of(tag)) == key_of(tag) == key_of(text)


@pytest.mark.parametrize("value", ['""', "/", "a//b"])
def test_a_filter_that_is_no_tag_is_refused(library: Library, value: str) -> None:
    with pytest.raises(QueryError):
        search(library, f"tag:{value}")


# -- what files say -------------------------------------------------------------------------------


def test_captions_and_keywords_are_read_from_xmp() -> None:
    facts = facts_of(jpeg(xmp=XMP.encode()))
    assert facts.caption == "Anna on the old bridge"
    assert facts.keywords == ("People/Anna", "Anna", "Prague")


def test_captions_are_read_from_exif_and_from_what_windows_writes() -> None:
    exif = Image.Exif()
    exif[0x010E] = "A walk\nin the rain"
    exif[0x9C9E] = "rain;umbrella\0".encode("utf-16-le")
    exif[0x9C9B] = "Sunday\0".encode("utf-16-le")
    facts = facts_of(jpeg(exif=exif))
    assert facts.caption == "A walk in the rain; Sunday"
    assert facts.keywords == ("rain", "umbrella")


def iptc(*records: tuple[int, bytes]) -> bytes:
    data = b"".join(b"\x1c\x02" + bytes([n]) + len(v).to_bytes(2, "big") + v for n, v in records)
    block = b"8BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
    body = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body


def test_captions_and_keywords_are_read_from_iptc() -> None:
    plain = jpeg()
    data = (
        plain[:2] + iptc((25, b"fog"), (25, "Köln".encode("cp1252")), (120, b"Cathedral in fog")) + plain[2:]
    )
    facts = facts_of(data)
    assert facts.caption == "Cathedral in fog"
    assert facts.keywords == ("fog", "Köln")


def test_captions_are_read_from_texts_of_a_png() -> None:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Description", "two boats")
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    assert facts_of(file.getvalue()).caption == "two boats"


@pytest.mark.parametrize("text", ["OLYMPUS DIGITAL CAMERA         ", "   ", "SONY DSC"])
def test_what_cameras_write_without_being_asked_is_no_caption(text: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = text
    assert facts_of(jpeg(exif=exif)).caption is None


@pytest.mark.parametrize(
    "xmp",
    [
        b"<not xml",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        b"\xff\xfe\x00",
        XMP.encode()[:200],
        b"<x>" * 100_000,
    ],
)
def test_damaged_xmp_says_nothing(xmp: bytes) -> None:
    data = jpeg()
    if len(xmp) < 60_000:
        data = jpeg(xmp=xmp)
    facts = facts_of(data)
    assert (facts.caption, facts.keywords) == (None, ())


@given(st.binary(max_size=300))
def test_no_iptc_is_too_strange(data: bytes) -> None:
    plain = jpeg()
    facts_of(plain[:2] + iptc((25, data), (120, data), (90, data[:20])) + plain[2:])


def test_keywords_of_a_file_are_tags_until_they_are_taken_away(
    tmp_path: Path, library: Library, pictures: Path
) -> None:
    (pictures / "bridge.jpg").write_bytes(jpeg(xmp=XMP.encode()))
    library.index()
    assert names(search(library, "tag:people")) == ["bridge"]
    assert names(search(library, "has:caption")) == ["bridge"]
    tagging.untag(library, pictures / "bridge.jpg", "Prague")
    shutil.copy(pictures / "bridge.jpg", pictures / "again.jpg")
    library.index()
    assert search(library, "tag:prague") == []
    assert tagging.read_facts(library) == (5, 0)
    assert sorted(names(search(library, "tag:prague"))) == ["again", "bridge"]


def test_facts_of_files_that_are_gone_or_changed_stay(library: Library, pictures: Path) -> None:
    (pictures / "bridge.jpg").write_bytes(jpeg(xmp=XMP.encode()))
    library.index()
    (pictures / "bridge.jpg").write_bytes(jpeg("blue"))
    (pictures / "red.png").unlink()
    assert tagging.read_facts(library) == (3, 2)
    assert names(search(library, "has:caption")) == ["bridge"]


# -- words ----------------------------------------------------------------------------------------


def test_quoted_words_are_found_in_names_captions_and_tags(library: Library, pictures: Path) -> None:
    (pictures / "bridge.jpg").write_bytes(jpeg("blue", xmp=XMP.encode()))
    library.index()
    tagging.tag(library, pictures / "green.png", "Café terrace")
    for words, stem in (("OLD bridge", "bridge"), ("cafe terrace", "green"), ("yellow", "yellow"),
                        ("prague", "bridge")):  # fmt: skip
        assert matching(library.database, "image", words).tolist() == [ids(library)[stem]]
    for words in ("bridge old", "caf", "!?", "", '"', "a AND b", "name:red", "\0"):
        assert matching(library.database, "image", words).tolist() == []
    by_meaning = names(search(library, 'red "unheard of"', k=5))
    hits = search(library, 'red "cafe terrace"', k=5)
    assert by_meaning.index("green") > 1  # its tag brings it to the front, beside the best by meaning
    assert "green" in names(hits[:2])
    assert all(-1 <= hit.score <= 1 for hit in hits)
    assert len({hit.id for hit in hits}) == 5


def test_words_respect_filters_and_kinds(library: Library, pictures: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text\na red barn\n")
    library.index(table, text_column="text")
    assert names(search(library, '"red barn" kind:text')) == ["t"]
    assert matching(library.database, "image", "red barn").tolist() == []
    tagging.tag(library, pictures, "x")
    found = search(library, '"x" ext:png -path:red.png', k=10)
    assert sorted(names(found)) == ["blue", "green", "yellow"]


def test_pages_of_fused_results_are_parts_of_one_list(library: Library, pictures: Path) -> None:
    tagging.tag(library, pictures / "yellow.png", "wanted")
    whole = search(library, 'red "wanted"', k=4)
    pages = [search(library, 'red "wanted"', k=1, offset=n)[0] for n in range(4)]
    assert pages == whole


def test_words_that_are_pushed_away_are_not_looked_for(library: Library, pictures: Path) -> None:
    tagging.tag(library, pictures / "green.png", "blue")
    assert search(library, 'red -"blue"') == search(library, "red", k=10) or (
        names(search(library, 'red -"blue"'))[0] == "red"
    )


def test_the_index_of_words_is_verified_and_made_anew(library: Library, tmp_path: Path) -> None:
    folder = library.folder
    assert verify(folder).clean
    with library.database.writing() if False else library.open_for_writing().writing() as db:
        db.execute("DELETE FROM words WHERE rowid = 1")
        db.execute("UPDATE words SET name = 'nonsense' WHERE rowid = 2")
    found = verify(folder).findings
    assert len(found) == 2
    assert all("crosslens compact" in finding.remedy for finding in found)
    library.close()
    compact(folder)
    assert verify(folder).clean


def test_fusing_is_by_places_alone() -> None:
    assert fuse([(1, [3, 1, 2])]) == [3, 1, 2]
    assert fuse([(1, [1, 2]), (1, [2, 1])]) == [1, 2]  # equal: by id
    assert fuse([(1, [1, 2, 3]), (1, [4])]) == [1, 4, 2, 3]
    assert fuse([(1, [1, 2, 3]), (2, [4])])[0] == 4
    assert fuse([]) == []


# -- the command line -----------------------------------------------------------------------------


def test_tags_on_the_command_line(
    library: Library, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["-L", str(library.folder)]
    assert main(["tag", "people/anna", str(pictures / "red.png"), *where]) == 0
    assert main(["tags", *where]) == 0
    assert main(["tags", "--json", *where]) == 0
    assert main(["untag", "people/anna", str(ids(library)["red"]), "--json", *where]) == 0
    assert main(["facts", *where]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "1 tagged"
    assert out[1].split() == ["1", "people/anna"]
    assert json.loads(out[2]) == {"tags": {"people/anna": 1}}
    assert json.loads(out[3]) == {"untagged": 1}
    assert out[4] == "read what 4 pictures say"
    assert main(["tag", "x", "nowhere.png", *where]) == 1
