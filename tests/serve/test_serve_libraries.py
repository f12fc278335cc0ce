"""Libraries over HTTP: made, filled, looked at; what comes from outside is neither trusted nor lost."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from crosslens import Library, Matcher
from crosslens.serve.config import RequestLimits
from crosslens.serve.ingest.uploads import safe_name
from crosslens.serve.routes import page
from crosslens.serve.security.auth import Keys
from crosslens.store.locks import writer_lock
from crosslens.towers.fake_model import FakeModel
from shelves import ask, ended, index, png, search, served, upload, zipped

FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def client(tmp_path: Path, pictures: Path) -> Iterator[TestClient]:
    with served(tmp_path) as client:
        index(client, pictures)
        yield client


def files_in(tmp_path: Path, library: str = "photos") -> list[str]:
    """Everything that clients sent and that was kept, whole or not."""
    folder = (tmp_path / "data" / library if library != "photos" else tmp_path / library) / "files"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# -- libraries ------------------------------------------------------------------------------------


def test_a_library_that_was_made_is_there_after_the_next_start(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        made = ask(client, "POST", "libraries", 201, json={"name": "holiday.2023"})
        assert made == ask(client, "GET", "libraries")["libraries"][0]
        assert (
            ask(client, "POST", "libraries", 409, json={"name": "holiday.2023"})["code"] == "library_exists"
        )
        upload(client, "holiday.2023", {"red.png": png("red")})
    with served(tmp_path) as client:
        assert [one["name"] for one in ask(client, "GET", "libraries")["libraries"]] == [
            "holiday.2023",
            "photos",
        ]
        assert search(client, "red", libraries=["holiday.2023"]) == ["red.png"]


def test_a_library_in_folders_that_are_still_to_be_made_can_be_filled(tmp_path: Path) -> None:
    with served(tmp_path / "home" / "data") as client:
        [library] = ask(client, "GET", "libraries")["libraries"]
        assert (library["name"], library["writable"]) == ("photos", True)
        assert upload(client, "photos", {"red.png": png("red")})["failures"] == []
        assert search(client, "red") == ["red.png"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "A", "-x", ".x", "a b", "é", "x" * 65, "a\0", "a:b"]
)
def test_a_name_that_is_none_makes_no_library(client: TestClient, tmp_path: Path, name: str) -> None:
    ask(client, "POST", "libraries", 422, json={"name": name})
    assert not (tmp_path / "data").exists()


def test_facts_about_a_library(client: TestClient, tmp_path: Path) -> None:
    facts = ask(client, "GET", "libraries/photos")
    [listed] = ask(client, "GET", "libraries")["libraries"]
    assert listed.items() <= facts.items()
    assert facts.items() >= {"items": 4, "texts": 0, "offline": 0, "model": "fake", "roots": 1}.items()
    assert facts.items() >= {"writable": True, "dimension": 4, "contents": 4, "approximate": None}.items()
    assert facts["folders"] == [{"name": "pictures", "online": True, "path": str(tmp_path / "pictures")}]
    assert ask(client, "GET", "libraries/nowhere", 404)["code"] == "library_not_found"


def test_items_come_page_by_page_in_an_order(client: TestClient, tmp_path: Path) -> None:
    for number, name in enumerate(("red", "green", "blue", "yellow")):
        os.utime(tmp_path / "pictures" / f"{name}.png", (10**9, 10**9 + number))
    index(client, tmp_path / "pictures")

    def names(**parameters: Any) -> list[str]:
        found = ask(client, "GET", "libraries/photos/items", params=parameters)
        assert found["total"] == 4
        return [item["name"].partition(".")[0] for item in found["items"]]

    assert names() == ["blue", "green", "red", "yellow"]
    assert names(limit=2) + names(limit=2, offset=2) == names()
    assert names(sort="date") == ["yellow", "blue", "green", "red"]
    assert names(sort="added") == ["yellow", "red", "green", "blue"]
    assert names(offset=9) == []
    for wrong in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"sort": "size"}):
        ask(client, "GET", "libraries/photos/items", 422, params=wrong)


def test_texts_are_items_too(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("caption\na red wall\nthe blue sea\n")
    with Library.open(tmp_path / "photos") as library:
        library.index([str(tmp_path / "captions.csv")], text_column="caption")
    [hit] = ask(client, "POST", "search", json={"query": "red", "kind": "text", "k": 1})["hits"]
    assert (hit["text"], hit["kind"], hit["width"], hit["name"]) == (
        "a red wall",
        "text",
        None,
        "captions.csv#1",
    )
    assert ask(client, "GET", f"items/{hit['item']}/thumbnail", 404)["code"] == "not_a_picture"
    assert ask(client, "GET", f"items/{hit['item']}/original", 404)["code"] == "not_a_picture"


def test_duplicates_and_the_one_to_keep(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "copy of red.png").write_bytes((tmp_path / "pictures" / "red.png").read_bytes())
    index(client, tmp_path / "pictures")
    found = ask(client, "GET", "libraries/photos/duplicates")
    [cluster] = found["clusters"]
    assert (cluster["kind"], found["total"]) == ("identical", 1)
    assert [item["name"] for item in cluster["items"]] == ["red.png", "copy of red.png"]
    ask(client, "GET", "libraries/photos/duplicates?similar=2", 422)


def test_on_the_map_what_is_alike_lies_together(
    client: TestClient, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    for number in range(30):
        paint(f"{number}.png", "cyan", (16 + number, 16))
    index(client, tmp_path / "pictures")
    found = ask(client, "GET", "libraries/photos/map")
    assert found["total"] == len(found["points"]) == len(found["items"]) == 34
    assert all(-1 <= number <= 1 for point in found["points"] for number in point)
    assert len({tuple(point) for point in found["points"]}) == 34
    places = dict(zip(found["items"], found["points"], strict=True))
    reds = [places[f"photos:{number}"] for number in range(5, 35)]
    width, height = (max(p[i] for p in reds) - min(p[i] for p in reds) for i in (0, 1))
    assert max(width, height) < 0.2
    with served(tmp_path, libraries=(tmp_path / "empty",)) as other:
        assert ask(other, "GET", "libraries/empty/map") == {"points": [], "items": [], "total": 0}


# -- uploads --------------------------------------------------------------------------------------


def test_what_is_sent_is_kept_and_found(client: TestClient, tmp_path: Path) -> None:
    job = upload(client, "photos", {"cyan.png": png("cyan"), "Ma genta.PNG": png("magenta")})
    assert (job["report"]["added"], job["failures"]) == (2, [])
    assert files_in(tmp_path) == ["Ma genta.PNG", "cyan.png"]
    assert search(client, "cyan", k=1) == ["cyan.png"]
    [hit] = ask(client, "POST", "search", json={"query": "magenta", "k": 1})["hits"]
    assert hit["path"] == str(tmp_path / "photos" / "files" / "Ma genta.PNG")
    assert client.get(f"/v1/items/{hit['item']}/original").content == png("magenta")


def test_equal_content_is_kept_once_and_equal_names_are_numbered(client: TestClient, tmp_path: Path) -> None:
    job = upload(client, "photos", {"cyan.png": png("cyan"), "again.png": png("cyan")})
    assert (job["report"]["added"], job["report"]["present"]) == (1, 1)
    job = upload(client, "photos", {"third.png": png("cyan")})
    assert job["report"] == {"present": 1}
    upload(client, "photos", {"cyan.png": png("magenta")})
    upload(client, "photos", {"cyan.png": png("white")})
    assert files_in(tmp_path) == ["cyan-2.png", "cyan-3.png", "cyan.png"]
    assert (tmp_path / "photos/files/cyan.png").read_bytes() == png("cyan")


def test_what_is_no_picture_is_told_and_not_kept(client: TestClient, tmp_path: Path) -> None:
    sent = {
        "notes.txt": b"x",
        "bad.png": b"nothing",
        "cut.png": png("red", (300, 300))[:-30],
        "cyan.png": png("cyan"),
    }
    job = upload(client, "photos", sent)
    assert {failure["name"] for failure in job["failures"]} == {"notes.txt", "bad.png", "cut.png"}
    assert job["failed"] == 3
    assert files_in(tmp_path) == ["cyan.png"]


@given(st.text(max_size=300))
def test_a_name_is_made_safe(text: str) -> None:
    name = safe_name(text)
    assert name == os.path.basename(name) == safe_name(name)
    assert name.isprintable()
    assert not name.startswith(".")
    assert 0 < len(name.encode("utf-8", "surrogatepass")) <= 210


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../evil.png", "evil.png"),
        ("/etc/evil.png", "evil.png"),
        ("C:\\folder\\evil.png", "evil.png"),
        ("...hidden.png", "hidden.png"),
        ("new\r\nline.png", "new__line.png"),
        ("é" * 200 + ".png", "é" * 98 + ".png"),
    ],
)
def test_files_are_kept_under_safe_names(client: TestClient, tmp_path: Path, sent: str, kept: str) -> None:
    boundary = b"----x"
    head = f'Content-Disposition: form-data; name="file"; filename="{sent}"'.encode()
    if b"\r" in head:
        head = head.replace(b"\r\n", b"%0D%0A")
        kept = "new%0D%0Aline.png"
    head = head.replace(b"\\", b"\\\\")
    body = b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + png("cyan") + b"\r\n--" + boundary + b"--\r\n"
    answer = client.post(
        "/v1/libraries/photos/items",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=----x"},
    )
    ended(client, answer.json()["job"])
    assert files_in(tmp_path) == [kept]
    assert not list(tmp_path.rglob("evil*")) or kept == "evil.png"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", FORM, 422),
        (b"--x\r\nContent-Disposition: form-data; name=f; filename=a.png\r\n\r\nabc", FORM, 422),
        (b"nonsense", FORM, 422),
        (b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\nabc\r\n--x--\r\n", FORM, 422),
        (b"--x\r\n" + b"A: b\r\n" * 9000 + b"\r\n", FORM, 422),
        (b"{}", "application/json", 415),
        (b"{}", "", 415),
        (b"x", "multipart/form-data", 415),
    ],
)  # fmt: skip
def test_a_form_that_is_none_or_ends_early_leaves_nothing(
    client: TestClient, tmp_path: Path, body: bytes, kind: str, status: int
) -> None:
    ask(client, "POST", "libraries/photos/items", status, content=body, headers={"content-type": kind})
    assert files_in(tmp_path) == []
    assert ask(client, "GET", "jobs")["jobs"][0]["kind"] == "folder"  # no other was made


def test_more_than_the_limits_is_refused_and_nothing_kept(tmp_path: Path) -> None:
    limits = RequestLimits(upload=20_000, file=5_000, zip_entries=3, zip_ratio=20)
    with served(tmp_path, limits=limits) as client:
        large = png("red") + bytes(5_000)
        many = {f"{number}.png": png("red") for number in range(4)}
        bomb = zipped({"0.png": bytes(19_000)})
        for files in (
            {"a.png": large},
            {f"{number}.png": bytes(4_900) for number in range(5)},
            {f"{number}.png": b"x" for number in range(4)},
            {"many.zip": zipped(many)},
            {"lies.zip": zipped(many).replace(b"\x04\x00\x04\x00", b"\x01\x00\x01\x00")},
            {"bomb.zip": bomb},
        ):
            parts = [("file", (name, data)) for name, data in files.items()]
            ask(client, "POST", "libraries/photos/items", 413, files=parts)
        assert ask(client, "PUT", "libraries/photos/items/a.png", 413, content=large)["code"] == "too_large"

        def endless() -> Iterator[bytes]:  # its length is not told beforehand
            yield from (bytes(1_000) for _ in range(30))

        ask(client, "PUT", "libraries/photos/items/a.png", 413, content=endless())
        assert files_in(tmp_path) == []
        assert ask(client, "GET", "jobs")["jobs"] == []


def linked(name: str, target: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_an_archive_is_unpacked_and_what_is_foul_in_it_refused(client: TestClient, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a/cyan.png", "b/cyan.png", "../up.png", "/root.png", "c:\\drive.png", "x/../../y.png"):
            archive.writestr(name, png("cyan" if name != "b/cyan.png" else "magenta"))
        archive.writestr(linked("link.png", "/etc/passwd"), "/etc/passwd")
        archive.writestr("inner.zip", zipped({"white.png": png("white")}))
        archive.writestr("notes.txt", "x")
        archive.writestr("bad.png", b"nothing")
        for name in ("__MACOSX/._a.png", ".hidden/a.png", "folder/", ".DS_Store"):
            archive.writestr(name, b"")
    data = file.getvalue()
    job = upload(client, "photos", {"all.zip": data})
    assert files_in(tmp_path) == ["cyan-2.png", "cyan.png"]
    assert job["report"]["added"] == 2
    assert {failure["name"]: failure["reason"] for failure in job["failures"]} == {
        "all.zip/../up.png": "its path leads out of the archive",
        "all.zip//root.png": "its path leads out of the archive",
        "all.zip/c:\\drive.png": "its path leads out of the archive",
        "all.zip/x/../../y.png": "its path leads out of the archive",
        "all.zip/link.png": "it is no regular file",
        "all.zip/inner.zip": "an archive in an archive is not opened",
        "all.zip/notes.txt": "its name is not that of a picture",
        "all.zip/bad.png": "not a picture in a known format; it begins with b'nothing'",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "pictures"]


def test_entries_that_are_encrypted_or_damaged_are_told(client: TestClient, tmp_path: Path) -> None:
    data = bytearray(
        zipped({"cyan.png": png("cyan"), "magenta.png": png("magenta"), "white.png": png("white")})
    )
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1  # the first counts as encrypted
    data[data.index(b"magenta.png") + 20] ^= 0xFF  # the second's bytes are not what its checksum says
    job = upload(
        client, "photos", {"some.zip": bytes(data), "none.zip": b"PK nothing", "cut.zip": bytes(data[:-40])}
    )
    reasons = {failure["name"]: failure["reason"] for failure in job["failures"]}
    assert reasons["some.zip/cyan.png"] == "it is encrypted"
    assert "cannot be unpacked" in reasons["some.zip/magenta.png"]
    assert "cannot be read" in reasons["none.zip"]
    assert "cannot be read" in reasons["cut.zip"]
    assert files_in(tmp_path) == ["white.png"]


# -- one picture ----------------------------------------------------------------------------------


def test_a_picture_is_put_under_its_name_and_replaced(client: TestClient, tmp_path: Path) -> None:
    new = ask(client, "PUT", "libraries/photos/items/wall.png", 201, content=png("cyan"))
    assert search(client, "cyan", k=1) == ["wall.png"]
    same = ask(client, "PUT", "libraries/photos/items/wall.png", 200, content=png("cyan"))
    assert same == new
    other = ask(client, "PUT", "libraries/photos/items/wall.png", 200, content=png("magenta"))
    assert (other["item"], other["version"] != new["version"]) == (new["item"], True)
    assert search(client, "magenta", k=1) == ["wall.png"]
    assert files_in(tmp_path) == ["wall.png"]


def test_what_is_no_picture_replaces_nothing(client: TestClient, tmp_path: Path) -> None:
    ask(client, "PUT", "libraries/photos/items/wall.png", 201, content=png("cyan"))
    for content in (b"", b"nothing", png("red", (300, 300))[:-30]):
        ask(client, "PUT", "libraries/photos/items/wall.png", 422, content=content)
    assert (tmp_path / "photos/files/wall.png").read_bytes() == png("cyan")
    assert search(client, "cyan", k=1) == ["wall.png"]
    for name in ("notes.txt", ".hidden.png", "a%0Ab.png", "x"):
        ask(client, "PUT", f"libraries/photos/items/{name}", 422, content=png("red"))
    assert files_in(tmp_path) == ["wall.png"]


def test_a_picture_without_a_vector_replaces_nothing(tmp_path: Path) -> None:
    model = FakeModel()
    tower = model.image

    class Blind:
        """Makes nothing of white pictures."""

        def submit(self, batch: Any) -> Any:
            future = tower.submit(batch)
            future.result()[(batch == 255).all(axis=(1, 2, 3))] = 0
            return future

    model.image = Blind()  # type: ignore[assignment]
    with served(tmp_path, Matcher(model)) as client:
        assert ask(client, "PUT", "libraries/photos/items/wall.png", 422, content=png("white"))["code"]
        assert files_in(tmp_path) == []
        ask(client, "PUT", "libraries/photos/items/wall.png", 201, content=png("cyan"))
        ask(client, "PUT", "libraries/photos/items/wall.png", 422, content=png("white"))
        assert (tmp_path / "photos/files/wall.png").read_bytes() == png("cyan")
        assert search(client, "cyan", k=1) == ["wall.png"]
        assert client.get("/v1/items/photos:1/original").content == png("cyan")
        job = upload(client, "photos", {"a.png": png("white"), "b.png": png("red")})
        assert [failure["name"] for failure in job["failures"]] == ["a.png"]
        assert files_in(tmp_path) == ["a.png", "b.png", "wall.png"]  # it is a picture, and stays


def test_a_picture_that_was_sent_is_deleted_and_one_of_a_folder_forgotten(
    client: TestClient, tmp_path: Path
) -> None:
    item = ask(client, "PUT", "libraries/photos/items/wall.png", 201, content=png("cyan"))["item"]
    assert ask(client, "DELETE", f"items/{item}") == {"item": item, "file_deleted": True}
    assert files_in(tmp_path) == []
    assert ask(client, "DELETE", f"items/{item}", 404)["code"] == "item_not_found"
    assert ask(client, "DELETE", "items/photos:3")["file_deleted"] is False
    assert (tmp_path / "pictures" / "red.png").exists()
    assert "red.png" not in search(client, "red")


def test_tags_are_added_and_taken_away(client: TestClient) -> None:
    added = ask(client, "POST", "items/photos:1/tags", json={"tags": ["Sea", "people/anna"]})
    assert added == {"tags": ["people/anna", "Sea"]}
    ask(client, "POST", "items/photos:2/tags", json={"tags": ["sea"]})
    counts = ask(client, "GET", "libraries/photos/tags")["tags"]
    assert counts == [{"tag": "people/anna", "items": 1}, {"tag": "Sea", "items": 2}]
    assert ask(client, "DELETE", "items/photos:1/tags", json={"tags": ["SEA"]}) == {"tags": ["people/anna"]}
    assert search(client, "tag:sea") == ["green.png"]
    for wrong in ({"tags": []}, {"tags": ["a//b"]}, {"tags": ["x" * 300]}, {}):
        ask(client, "POST", "items/photos:1/tags", 422, json=wrong)
    ask(client, "DELETE", "items/photos:1/tags", 422, json={"tags": ["other"]})
    ask(client, "POST", "items/photos:99/tags", 404, json={"tags": ["a"]})


def test_while_another_process_writes_small_changes_are_refused(client: TestClient, tmp_path: Path) -> None:
    with writer_lock(tmp_path / "photos"):
        for method, path, more in (
            ("POST", "items/photos:1/tags", {"json": {"tags": ["a"]}}),
            ("DELETE", "items/photos:1", {}),
            ("PUT", "libraries/photos/items/a.png", {"content": png("red")}),
        ):
            assert ask(client, method, path, 409, **more)["code"] == "library_busy"
    assert files_in(tmp_path) == []
    assert len(search(client, "red")) == 4


# -- pictures of items ----------------------------------------------------------------------------


def test_a_thumbnail_is_small_upright_and_kept(client: TestClient, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: what is stored on top is on the right
    picture = Image.new("RGB", (800, 400), "blue")
    picture.paste((255, 0, 0), (0, 0, 800, 200))
    picture.save(tmp_path / "pictures" / "turned.jpg", exif=exif, quality=95)
    index(client, tmp_path / "pictures")
    answer = client.get("/v1/items/photos:5/thumbnail?size=100")
    assert answer.headers["content-type"] == "image/webp"
    thumbnail = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert thumbnail.size == (64, 128)  # sizes are multiples of 64
    assert thumbnail.getpixel((60, 64))[0] > 200 > thumbnail.getpixel((3, 64))[0]  # type: ignore[index]
    assert answer.headers["cache-control"] == "private, no-cache"
    again = client.get(
        "/v1/items/photos:5/thumbnail?size=100", headers={"if-none-match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    version = ask(client, "GET", "items/photos:5")["version"]
    kept = client.get(f"/v1/items/photos:5/thumbnail?size=128&v={version}")
    assert "immutable" in kept.headers["cache-control"]
    assert kept.content == answer.content
    for size, side in ((1, 64), (-5, 64), (4000, 800)):
        thumbnail = Image.open(io.BytesIO(client.get(f"/v1/items/photos:5/thumbnail?size={size}").content))
        assert max(thumbnail.size) == side
    ask(client, "GET", "items/photos:5/thumbnail?size=large", 422)


def test_a_file_that_is_gone_changed_or_damaged_is_not_shown(client: TestClient, pictures: Path) -> None:
    (pictures / "red.png").unlink()
    (pictures / "blue.png").write_bytes(png("red", (20, 20)))
    status = os.stat(pictures / "green.png")
    (pictures / "green.png").write_bytes(b"x" * status.st_size)
    os.utime(pictures / "green.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    for rest in ("thumbnail", "original"):
        assert ask(client, "GET", f"items/photos:3/{rest}", 404)["code"] == "file_missing"
        assert ask(client, "GET", f"items/photos:1/{rest}", 409)["code"] == "file_changed"
        assert ask(client, "GET", f"items/photos:99/{rest}", 404)["code"] == "item_not_found"
    assert ask(client, "GET", "items/photos:2/thumbnail", 422)["code"] == "image_unreadable"
    assert "red.png" in search(client, "red")


def test_pictures_that_are_in_no_file_have_none(client: TestClient, tmp_path: Path) -> None:
    with Library.open(tmp_path / "photos") as library:
        [number] = library.add(images=[png("cyan")], names=["sea"])
    item = ask(client, "GET", f"items/photos:{number}")
    assert (item["name"], item["path"]) == ("sea", "added:sea")
    assert ask(client, "GET", f"items/photos:{number}/thumbnail", 404)["code"] == "file_missing"


def test_an_original_comes_whole_or_in_part(client: TestClient, pictures: Path) -> None:
    data = (pictures / "red.png").read_bytes()
    whole = client.get("/v1/items/photos:3/original")
    assert (whole.content, whole.headers["content-type"]) == (data, "image/png")
    assert whole.headers["content-disposition"] == 'attachment; filename="red.png"'
    part = client.get("/v1/items/photos:3/original", headers={"range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, data[4:10])
    shown = client.get("/v1/items/photos:3/original?inline=1")
    assert shown.headers["content-disposition"].startswith("inline")
    assert shown.headers["x-content-type-options"] == "nosniff"
    tagged = {"if-none-match": whole.headers["etag"]}
    assert client.get("/v1/items/photos:3/original", headers=tagged).status_code == 304


@pytest.mark.parametrize("name", ["evil.svg", "evil.html", "evil.png.exe", "evil"])
def test_what_a_browser_might_run_is_never_shown_in_it(client: TestClient, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(png("cyan"))
    with Library.open(tmp_path / "photos") as library:
        library.index([str(tmp_path / name)])
    answer = client.get("/v1/items/photos:5/original?inline=1")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "html" not in answer.headers["content-type"]


@pytest.mark.parametrize(
    "item", ["photos", "photos:", ":1", "photos:x", "photos:-1", "photos:1e3", "photos:٣", "x:" + "9" * 19]
)
def test_what_names_no_item_is_refused(client: TestClient, item: str) -> None:
    assert client.get(f"/v1/items/{item}").status_code in (404, 422)
    assert client.get(f"/v1/items/{item}/original").status_code in (404, 422)


def test_no_path_of_a_client_reaches_the_disk(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png("red"))
    for path in (
        "/v1/items/..%2F..%2Fsecret.png/original",
        f"/v1/items/{tmp_path}/secret.png/original",
        "/assets/..%2Fapp.py",
        "/assets/../app.py",
        "/..%2F..%2Fapp.py",
        "/v1/libraries/..%2Fdata",
        "/v1/libraries/..",
    ):
        assert client.get(path).status_code in (404, 405, 422), path


# -- folders --------------------------------------------------------------------------------------


def test_only_folders_below_those_allowed_are_indexed(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "pictures" / "out").symlink_to("/usr")
    (tmp_path / "pictures-2").mkdir()
    (tmp_path / "in").symlink_to(pictures)
    with served(tmp_path, folders=(tmp_path / "pictures",)) as client:
        elsewhere = (tmp_path, "/", "/usr", pictures / ".." / "photos", tmp_path / "pictures-2")
        for path in (*elsewhere, "", "relative", "\0", pictures / "out", pictures / "out" / "share"):
            answer = client.post("/v1/libraries/photos/folders", json={"path": str(path)})
            assert answer.status_code == (422 if path == "" else 403), path
            assert answer.json()["code"] in ("folder_not_allowed", "invalid_request")
        ask(client, "POST", "libraries/photos/folders", 422, json={"path": str(pictures / "nowhere")})
        ask(client, "POST", "libraries/photos/folders", 422, json={"path": str(pictures / "red.png")})
        (pictures / "out").unlink()
        assert index(client, tmp_path / "in")["report"]["added"] == 4
        folders = ask(client, "GET", "libraries/photos")["folders"]
        assert [folder["path"] for folder in folders] == [str(pictures)]
    with served(tmp_path, folders=()) as client:
        ask(client, "POST", "libraries/photos/folders", 403, json={"path": str(pictures)})


# -- who may --------------------------------------------------------------------------------------


def test_every_endpoint_wants_its_scope(tmp_path: Path, pictures: Path) -> None:
    with served(tmp_path) as client:
        index(client, pictures)
    file = tmp_path / "keys.json"
    keys = {scope: Keys(file).add(scope, scope) for scope in ("read", "write", "admin")}  # type: ignore[arg-type]
    wanted = {
        "POST /v1/search": "read", "POST /v1/explain": "read", "GET /v1/complete": "read",
        "GET /v1/libraries": "read", "POST /v1/libraries": "admin", "GET /v1/libraries/{name}": "read",
        "GET /v1/libraries/{name}/items": "read", "POST /v1/libraries/{name}/items": "write",
        "PUT /v1/libraries/{name}/items/{file}": "write", "POST /v1/libraries/{name}/folders": "admin",
        "GET /v1/libraries/{name}/tags": "read", "GET /v1/libraries/{name}/duplicates": "read",
        "GET /v1/libraries/{name}/map": "read", "GET /v1/items/{item}": "read",
        "DELETE /v1/items/{item}": "write",
        "GET /v1/items/{item}/thumbnail": "read", "GET /v1/items/{item}/original": "read",
        "POST /v1/items/{item}/tags": "write", "DELETE /v1/items/{item}/tags": "write",
        "GET /v1/jobs": "read",
        "GET /v1/jobs/{identity}": "read", "DELETE /v1/jobs/{identity}": "write",
        "GET /v1/jobs/{identity}/events": "read",
        "GET /v1/libraries/{name}/concepts": "read",
        "GET /v1/libraries/{name}/concepts/{concept}": "read",
        "POST /v1/libraries/{name}/concepts/{concept}": "write",
        "DELETE /v1/libraries/{name}/concepts/{concept}": "write",
        "GET /v1/libraries/{name}/concepts/{concept}/suggestions": "read",
        "GET /v1/libraries/{name}/concepts/{concept}/tag": "read",
        "POST /v1/libraries/{name}/concepts/{concept}/tag": "write",
    }  # fmt: skip
    ours = ("/v1/search", "/v1/explain", "/v1/complete", "/v1/libraries", "/v1/items", "/v1/jobs")
    with served(tmp_path, keys=file) as client:
        paths = client.get("/openapi.json").json()["paths"]
        there = {
            f"{method.upper()} {path}"
            for path, methods in paths.items()
            if path.startswith(ours)
            for method in methods
        }
        assert there == set(wanted)
        scopes = ("read", "write", "admin")
        for endpoint, scope in wanted.items():
            method, path = endpoint.split()
            path = path.format(name="photos", file="a.png", item="photos:77", identity="none", concept="dog")
            assert client.request(method, path).status_code == 401, endpoint
            assert client.request(method, path, headers={"x-api-key": "xl_wrong"}).status_code == 401
            for key in scopes:
                status = client.request(method, path, headers={"x-api-key": keys[key]}).status_code
                assert (status == 403) == (scopes.index(key) < scopes.index(scope)), (endpoint, key, status)
                assert status < 500
        assert client.get("/v1/session").json()["scope"] is None


# -- the page -------------------------------------------------------------------------------------


def test_the_page_is_served_and_kept_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page/assets").mkdir(parents=True)
    (tmp_path / "page/index.html").write_text("<!doctype html><p>ours")
    (tmp_path / "page/icon.svg").write_text("<svg/>")
    (tmp_path / "page/.secret").write_text("x")
    (tmp_path / "page/assets/index-1.js").write_text("let a")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page")
    with served(tmp_path) as client:
        index = client.get("/")
        assert (index.text, index.headers["cache-control"]) == ("<!doctype html><p>ours", "no-cache")
        assert "text/html" in index.headers["content-type"]
        script = client.get("/assets/index-1.js")
        assert script.text == "let a"
        assert "immutable" in script.headers["cache-control"]
        assert "javascript" in script.headers["content-type"]
        assert client.get("/icon.svg").text == "<svg/>"
        for path in ("/.secret", "/nothing.html", "/assets/nothing.js", "/assets/"):
            assert client.get(path).status_code == 404
        monkeypatch.setattr(page, "PAGE", tmp_path / "nowhere")
        plain = client.get("/")
        assert plain.status_code == 200
        assert "not built" in plain.text
        assert "<script" not in plain.text
        assert client.get("/icon.svg").status_code == 404


def test_a_json_body_may_not_be_as_large_as_an_upload(tmp_path: Path) -> None:
    with served(tmp_path, limits=RequestLimits(body=1000, upload=100_000)) as client:
        body = json.dumps({"tags": ["x" * 2000]})
        headers = {"content-type": "application/json"}
        ask(client, "POST", "items/photos:1/tags", 413, content=body, headers=headers)
