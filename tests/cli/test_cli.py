"""The command line, as a user and as a program meets it. The model is the fake one unless said otherwise."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crosslens
from crosslens.cli import main
from crosslens.cli.output.progress_bar import ProgressLines
from crosslens.types import Progress

Run = Callable[..., "Done"]


class Done:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    # capsys replaces the streams by ones that cannot be reconfigured.
    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)
    terminate, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def call(*arguments: str | Path) -> Done:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    try:
        return call
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)


@pytest.fixture
def library(run: Run, pictures: Path, tmp_path: Path) -> Path:
    """A library with red, green, blue and yellow, made by the fake model."""
    folder = tmp_path / "library"
    assert run("index", "-L", folder, "--model", "fake", pictures).status == 0
    return folder


def names(done: Done) -> list[str]:
    return [Path(hit["path"]).stem for hit in done.json["hits"]]  # type: ignore[index,union-attr]


def test_index_says_what_it_did(run: Run, pictures: Path, tmp_path: Path) -> None:
    done = run("index", "-L", tmp_path / "library", "--model", "fake", pictures)
    assert done.status == 0
    assert done.out.startswith("4 added in ")
    assert f"library {tmp_path / 'library'}: 4 pictures, model fake" in done.out


def test_index_json_is_one_object(run: Run, pictures: Path, tmp_path: Path) -> None:
    report = run("index", "-L", tmp_path / "library", "--model", "fake", "--json", pictures).json
    assert report["added"] == report["encoded"] == 4
    assert report["failures"] == []
    assert report["library"]["items"] == 4  # type: ignore[index]


def test_index_without_folders_updates_the_known_ones(run: Run, library: Path, pictures: Path) -> None:
    (pictures / "red.png").unlink()
    done = run("index", "-L", library)
    assert done.status == 0
    assert "1 removed, 3 unchanged" in done.out


def test_index_goes_past_bad_files_and_lists_each(run: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.jpg").write_bytes(b"no picture at all")
    (pictures / "empty.png").touch()
    done = run("index", "-L", tmp_path / "library", "--model", "fake", pictures)
    assert done.status == 0
    assert "4 added" in done.out
    assert "2 could not be read:" in done.out
    assert f"{pictures / 'bad.jpg'}: not a picture in a known format" in done.out
    assert f"{pictures / 'empty.png'}: the file is empty" in done.out


def test_index_strict_exits_with_1_on_bad_files_and_json_names_them(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "empty.png").touch()
    done = run("index", "-L", tmp_path / "library", "--model", "fake", "--strict", "--json", pictures)
    assert done.status == 1
    failures = [{"path": str(pictures / "empty.png"), "reason": "the file is empty"}]
    assert done.json["failures"] == failures


def test_search_by_words_prints_scores_and_paths(run: Run, library: Path, pictures: Path) -> None:
    done = run("search", "-L", library, "something red", "-k", "2")
    assert done.status == 0
    # The score of yellow is 1/√2, from vectors kept in float16.
    assert done.out.splitlines() == [
        f"1.0000\t{pictures / 'red.png'}",
        f"0.7070\t{pictures / 'yellow.png'}",
    ]


def test_search_json_is_one_object_whose_hits_carry_what_is_known(
    run: Run, library: Path, pictures: Path
) -> None:
    answer = run("search", "-L", library, "red", "-k", "1", "--json").json
    assert answer["query"] == {"text": "red"}
    [hit] = answer["hits"]  # type: ignore[misc]
    assert hit.pop("modified") == pytest.approx((pictures / "red.png").stat().st_mtime)
    assert hit.pop("score") == pytest.approx(1)
    assert hit == {
        "id": hit["id"],
        "path": str(pictures / "red.png"),
        "online": True,
        "width": 16,
        "height": 16,
        "size": (pictures / "red.png").stat().st_size,
        "text": None,
        "relevance": 1,
    }


def test_search_by_a_picture(run: Run, library: Path, pictures: Path) -> None:
    assert names(run("search", "-L", library, "--image", pictures / "blue.png", "--json"))[0] == "blue"


def test_search_by_words_and_a_picture_finds_what_has_both(run: Run, library: Path, pictures: Path) -> None:
    done = run("search", "-L", library, "red", "--image", pictures / "green.png", "--json")
    assert names(done)[0] == "yellow"


def test_search_without_pushes_away(run: Run, library: Path) -> None:
    assert names(run("search", "-L", library, "yellow", "--json"))[0] == "yellow"
    done = names(run("search", "-L", library, "yellow", "--without", "red", "--json"))
    assert done.index("green") < done.index("red")


def test_queries_prints_one_object_a_line(run: Run, library: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red\n\nblue\u2028\r\n")
    done = run("search", "-L", library, "--queries", tmp_path / "queries.txt", "-k", "1", "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["query"]["text"] for answer in answers] == ["red", "blue\u2028"]
    assert [Path(answer["hits"][0]["path"]).stem for answer in answers] == ["red", "blue"]


def test_the_library_may_come_from_the_environment(
    run: Run, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSLENS_LIBRARY", str(library))
    assert names(run("search", "red", "-k", "1", "--json")) == ["red"]


def test_stats_says_what_is_there(run: Run, library: Path, pictures: Path) -> None:
    assert run("stats", "-L", library, "--json").json["roots"] == [str(pictures)]
    assert "items      4 pictures (4 different)" in run("stats", "-L", library).out


def test_score_shows_dimension_vectors_similarity_and_confidence(run: Run, pictures: Path) -> None:
    done = run("score", pictures / "red.png", "red", "blue", "--model", "fake")
    assert "vector dimension 4" in done.out
    assert "[+1.000 +0.000 +0.000 … +0.000]" in done.out
    lines = done.out.splitlines()
    assert lines[-2].split()[-2:] == ["1.0000", "100.0%"]
    assert lines[-1].split()[-2:] == ["0.0000", "0.0%"]


def test_score_json_carries_whole_vectors(run: Run, pictures: Path) -> None:
    answer = run("score", pictures / "red.png", "red", "blue", "--model", "fake", "--json").json
    assert answer["dimension"] == 4
    assert answer["image_vector"] == pytest.approx([1, 0, 0, 0])
    assert [row["similarity"] for row in answer["scores"]] == pytest.approx([1, 0])  # type: ignore[union-attr]


def test_doctor_shows_versions_licences_places_and_a_passing_self_test(run: Run) -> None:
    done = run("doctor")
    assert done.status == 0, done.out
    for words in ("openvino", "Apache-2.0", "non-commercial", "CPU features", "model cache", "all is well"):
        assert words in done.out


def test_doctor_fails_when_a_self_test_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosslens.diagnose.doctor._GOLDEN", (1.0, 0.0, 0.0, 0.0))
    done = run("doctor")
    assert done.status == 1
    assert "FAILED" in done.out


def test_the_small_model_introduces_itself_once(run: Run, pictures: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path / "new-home"))
    first = run("index", "-L", tmp_path / "library", pictures)
    assert "the small embedded model" in first.err
    assert "full CLIP" in first.err
    assert first.err.count("\n") == 1
    assert run("search", "-L", tmp_path / "library", "red").err == ""


def test_a_script_the_model_never_saw_is_warned_of(run: Run, pictures: Path, tmp_path: Path) -> None:
    run("index", "-L", tmp_path / "library", pictures)
    with process("search", "-L", tmp_path / "library", "пёс") as running:
        out, err = running.communicate()
    assert out.count("\n") == 4
    assert err == (
        "warning: 'пёс' is in a script that starter never saw (CYRILLIC); the results mean nothing. "
        "It reads LATIN\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "-L", "{library}"), "the search asks for nothing"),
        (("search", "-L", "{tmp}/none", "red"), "there is no crosslens library in"),
        (
            ("search", "-L", "{library}", "{pictures}/red.png"),
            "is a file, not words. Search by it with: --image",
        ),
        (("search", "-L", "{library}", "--image", "{tmp}/gone.jpg"), "gone.jpg: there is no such file"),
        (("search", "-L", "{library}", ""), "is empty"),
        (("search", "-L", "{library}", "--queries", "{tmp}/gone.txt"), "gone.txt cannot be read"),
        (("index", "-L", "{library}", "{tmp}/gone"), "gone: there is no such file or folder"),
        (("index", "-L", "{tmp}/new", "--model", "startr", "{pictures}"), "Did you mean starter?"),
        (("index", "-L", "{library}", "--model", "starter"), "was made with model 'fake'"),
        (("index", "-L", "{tmp}/new"), "Name a folder of pictures to index"),
        (("score", "{tmp}/gone.jpg", "red", "--model", "fake"), "gone.jpg: there is no such file"),
        (("stats", "-L", "{tmp}/none"), "Make one with: crosslens index -L"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_1(
    run: Run, library: Path, pictures: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    places = {"library": library, "tmp": tmp_path, "pictures": pictures}
    done = run(*(argument.format(**places) for argument in arguments))
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_queries_beside_text_is_a_usage_error(run: Run, library: Path) -> None:
    done = run("search", "-L", library, "red", "--queries", "x")
    assert done.status == 2
    assert "--queries stands alone" in done.err


def test_a_file_name_cannot_steer_the_terminal(run: Run, paint: Callable[..., Path], tmp_path: Path) -> None:
    folder = paint("red\x1b[31m\n.png", "red").parent
    run("index", "-L", tmp_path / "library", "--model", "fake", folder)
    out = run("search", "-L", tmp_path / "library", "red").out
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert "red\\x1b[31m\\n.png" in out


def test_version_is_the_package_version(run: Run) -> None:
    assert run("--version").out == f"crosslens {crosslens.__version__}\n"


# -- classify, match, embed ------------------------------------------------------------------------


def test_classify_ranks_labels_from_options_and_a_file(run: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("blue\n\ngreen\n")
    done = run("classify", pictures / "red.png", pictures / "blue.png", "--label", "red",
               "--labels", tmp_path / "labels.txt", "--model", "fake")  # fmt: skip
    lines = done.out.splitlines()
    assert lines[0] == str(pictures / "red.png")
    assert lines[1].split() == ["100.0%", "red"]
    assert lines[5].split() == ["100.0%", "blue"]


def test_classify_json_is_one_object_a_picture(run: Run, pictures: Path) -> None:
    done = run("classify", pictures / "red.png", "--label", "red", "--label", "blue", "--template", "{}",
               "--model", "fake", "--json")  # fmt: skip
    assert done.json["image"] == str(pictures / "red.png")
    assert [label["text"] for label in done.json["labels"]] == ["red", "blue"]  # type: ignore[index,union-attr]


def test_classify_leaves_out_what_cannot_be_read_and_says_so(run: Run, pictures: Path) -> None:
    bad = pictures / "bad.png"
    bad.touch()
    command = ("classify", bad, pictures / "red.png", "--label", "red", "--label", "blue", "--model", "fake")
    done = run(*command)
    assert done.status == 1
    assert done.out.splitlines()[0] == str(pictures / "red.png")
    assert done.err == f"warning: {bad}: the file is empty\n"
    lines = [json.loads(line) for line in run(*command, "--json").out.splitlines()]
    assert lines[1] == {"image": str(bad), "error": "the file is empty"}


def test_classify_without_labels_is_a_mistake(run: Run, pictures: Path) -> None:
    assert "there are no labels" in run("classify", pictures / "red.png", "--model", "fake").err


def test_match_shows_every_row_and_names_those_that_fail(run: Run, pictures: Path) -> None:
    table = pictures / "pairs.csv"
    table.write_text("file,says\nred.png,red\ngone.png,red\nred.png,blue\n")
    columns = ("--image-column", "file", "--text-column", "says", "--model", "fake")
    done = run("match", table, *columns)
    assert done.status == 1
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("0.993", "1.0000", "red"),
        ("0.007", "0.0000", "blue"),
    ]
    assert done.err == "warning: row 2: gone.png: there is no such file\n"
    answers = [json.loads(line) for line in run("match", table, *columns, "--json").out.splitlines()]
    assert answers[0]["probability"] == pytest.approx(1 / (1 + 2.718281828**-5))
    assert [answer["row"] for answer in answers] == [1, 2, 3]
    assert answers[1] == {"row": 2, "image": "gone.png", "text": "red", "error": "there is no such file"}


def test_embed_writes_pictures_with_their_ids_and_names_failures(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "bad.png").touch()
    done = run("embed", pictures, "--out", tmp_path / "v.npy", "--model", "fake")
    assert done.status == 1
    assert done.out.splitlines()[0] == f"4 vectors of 4 numbers in {tmp_path / 'v.npy'}"
    assert f"{pictures / 'bad.png'}: the file is empty" in done.out
    ids = json.loads((tmp_path / "v.ids.json").read_text())
    vectors = np.load(tmp_path / "v.npy")
    assert vectors[ids.index(str(pictures / "red.png"))].tolist() == [1, 0, 0, 0]


def test_embed_writes_texts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("red\nblue\n")
    done = run(
        "embed", "--texts", tmp_path / "texts.txt", "--out", tmp_path / "v.npy", "--model", "fake", "--json"
    )
    assert done.json == {"file": str(tmp_path / "v.npy"), "vectors": 2, "dimension": 4, "failures": []}
    assert json.loads((tmp_path / "v.ids.json").read_text()) == ["red", "blue"]


def test_embed_wants_pictures_or_texts(run: Run, tmp_path: Path) -> None:
    assert run("embed", "--out", tmp_path / "v.npy").status == 2
    (tmp_path / "texts.txt").write_text("red\n")
    done = run(
        "embed", "--texts", tmp_path / "texts.txt", "--out", tmp_path / "none" / "v.npy", "--model", "fake"
    )
    assert "none/v.npy cannot be written (No such file or directory)" in done.err


def test_remove_and_list(run: Run, library: Path, pictures: Path) -> None:
    listed = [line.split("\t") for line in run("list", "-L", library).out.splitlines()]
    assert [Path(path).stem for _, path in listed] == ["blue", "green", "red", "yellow"]
    done = run("remove", "-L", library, listed[0][0], pictures / "red.png")
    assert done.out == f"2 forgotten; library {library}: 2 pictures\n"
    left = [json.loads(line) for line in run("list", "-L", library, "--json").out.splitlines()]
    assert [Path(item["path"]).stem for item in left] == ["green", "yellow"]
    assert "score" not in left[0]
    assert "is not in library" in run("remove", "-L", library, pictures / "red.png").err


def test_several_words_need_no_quotes(run: Run, library: Path) -> None:
    assert run("search", "-L", library, "something", "red", "--json").json["query"] == {
        "text": "something red"
    }


def test_two_pictures_are_refused_rather_than_one_dropped(run: Run, library: Path, pictures: Path) -> None:
    done = run("search", "-L", library, "--image", pictures / "red.png", "--image", pictures / "blue.png")
    assert done.status == 2
    assert "--image can be given once" in done.err


def test_lines_of_many_searches_begin_with_the_query(run: Run, library: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red\nblue\n")
    lines = run("search", "-L", library, "--queries", tmp_path / "queries.txt", "-k", "1").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["red", "blue"]


def test_an_offline_folder_is_named_with_the_way_to_forget_it(
    run: Run, library: Path, pictures: Path
) -> None:
    pictures.rename(pictures.with_name("unplugged"))
    out = run("index", "-L", library).out
    assert f"4 offline, kept because {pictures} is missing or empty" in out
    assert "crosslens remove FOLDER" in out
    assert f"indexed    {pictures} (missing)" in run("stats", "-L", library).out


def test_doctor_looks_at_the_library_it_is_pointed_at(run: Run, library: Path) -> None:
    assert "4 items, model fake, searched" in run("doctor", "-L", library).out
    (library / "library.sqlite3").write_bytes(b"garbage" * 1000)
    done = run("doctor", "-L", library)
    assert done.status == 1
    assert "FAILED  library" in done.out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_an_output_that_is_full_is_one_clear_line(library: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "crosslens", "search", "-L", library, "red"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written (No space left on device)\n"


def test_a_table_of_texts_is_indexed_and_found_by_a_picture(run: Run, library: Path, pictures: Path) -> None:
    table = pictures / "captions.csv"
    table.write_text("caption\nthe blue sea\na red wall\n")
    assert "2 added" in run("index", "-L", library, table, "--text-column", "caption").out
    done = run("search", "-L", library, "--image", pictures / "blue.png", "--texts", "-k", "1")
    assert done.out == f"1.0000\t{table}#1\tthe blue sea\n"
    hit = run("search", "-L", library, "red", "--texts", "-k", "1", "--json").json["hits"][0]  # type: ignore[index]
    assert hit["text"] == "a red wall"
    table.rename(pictures / "other.csv")
    assert "is a table. Say which column" in run("index", "-L", library, pictures / "other.csv").err


# -- as processes ----------------------------------------------------------------------------------


def process(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "crosslens", *map(str, arguments)]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_reader_that_goes_away_is_no_failure(library: Path) -> None:
    with process("search", "-L", library, "red") as running:
        running.stdout.close()  # type: ignore[union-attr]
        assert running.stderr.read() == ""  # type: ignore[union-attr]


def test_an_undecodable_file_name_is_printed_as_it_is(paint: Callable[..., Path], tmp_path: Path) -> None:
    good = paint("red.png")
    os.rename(os.fsencode(good), os.fsencode(good.parent) + b"/r\xffd.png")
    with process("index", "-L", tmp_path / "library", "--model", "fake", good.parent) as indexing:
        assert indexing.communicate()[1] == ""
    command = [sys.executable, "-m", "crosslens", "search", "-L", tmp_path / "library", "red"]
    plain = subprocess.run(command, capture_output=True, check=True).stdout
    assert plain.endswith(b"/r\xffd.png\n")
    answer = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert os.fsencode(answer["hits"][0]["path"]).endswith(b"/r\xffd.png")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_index_ends_cleanly_and_goes_on_later(
    paint: Callable[..., Path], tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    colours = ("red", "green", "blue", "yellow", "cyan")
    for number in range(400):
        # Every file differs, or only the first five would be encoded.
        folder = paint(f"{number}.png", colours[number % 5], (200 + number, 150)).parent
    running = process("index", "-L", tmp_path / "library", "--model", "fake", folder)
    database = tmp_path / "library" / "library.sqlite3"
    deadline = time.monotonic() + 20
    while not database.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(sent)
    _, err = running.communicate(timeout=20)
    if running.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert running.returncode == status
    assert err.startswith("interrupted: ")
    assert "Traceback" not in err
    with process("index", "-L", tmp_path / "library", "--model", "fake", folder, "--json") as again:
        out, err = again.communicate()
    assert err == ""
    report = json.loads(out)
    assert report["library"]["items"] == 400


# -- in a terminal ---------------------------------------------------------------------------------


def in_terminal(*arguments: str | Path) -> str:
    """What a command shows in a terminal of 100 columns that answers no questions."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (40, 100))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = [sys.executable, "-m", "crosslens", *map(str, arguments)]
    shown = b""
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment) as running:
        os.close(inner)
        while True:
            try:
                block = os.read(outer, 65536)
            except OSError:  # Linux says so when the last writer is gone
                break
            if not block:
                break
            shown += block
        os.close(outer)
        assert running.wait() == 0
    return shown.decode()


def test_a_search_in_a_terminal_shows_a_table_with_thumbnails(library: Path, pictures: Path) -> None:
    shown = in_terminal("search", "-L", library, "red", "-k", "2")
    assert "text 'red'" in shown
    assert "16 × 16" in shown
    assert "▀" in shown
    assert "38;2;254;0;0" in shown or "38;2;255;0;0" in shown  # a red cell: the picture itself
    plain = in_terminal("search", "-L", library, "red", "-k", "2", "--no-thumbnails")
    assert "1.000" in plain
    assert "▀" not in plain


def test_an_index_in_a_terminal_shows_a_bar(pictures: Path, tmp_path: Path) -> None:
    shown = in_terminal("index", "-L", tmp_path / "library", "--model", "fake", pictures)
    assert "indexing" in shown
    assert "4/4" in shown
    assert "4 added" in shown


def test_classify_in_a_terminal_shows_a_bar_and_match_its_rows(pictures: Path) -> None:
    model = ("--model", "fake")
    shown = in_terminal("classify", pictures / "red.png", "--label", "red", *model)
    assert "classifying" in shown
    table = pictures / "pairs.csv"
    table.write_text("file,says\nred.png,red\n")
    shown = in_terminal("match", table, "--image-column", "file", "--text-column", "says", *model)
    assert "0.993" in shown


def test_a_progress_line_tells_rate_time_left_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines("indexing")
    lines._started = lines._printed = time.monotonic() - 10
    lines.update(Progress(done=1000, total=4000, failed=2, encoded=900))
    assert capsys.readouterr().err == "indexing: 1,000 of 4,000, 100 pictures/s, 30 s left, 2 failed\n"
    lines.update(Progress(done=1100, total=4000, failed=2, encoded=900))
    assert capsys.readouterr().err == ""


def test_bench_prints_figures_and_draws_them(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.diagnose.benchmark._SECONDS", 0.01)
    (pictures / "bad.png").touch()
    done = run("bench", pictures, "--png", tmp_path / "chart.png")
    assert done.status == 0
    assert "measured with 4 pictures" in done.out
    assert re.search(r"f32, exact decoding +[\d,.]+ /s", done.out)
    assert re.search(r"100,000 vectors +[\d.]+ ms", done.out)
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.width > 500
        assert len(chart.getcolors(1 << 20) or []) > 2
    figures = run("bench", pictures, "--json").json["figures"]
    assert {figure["unit"] for figure in figures} == {"/s", "s", "ms"}  # type: ignore[index,union-attr,attr-defined]
    assert all(figure["value"] > 0 for figure in figures)  # type: ignore[index,union-attr,attr-defined]


def test_bench_without_pictures_is_a_mistake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there are no pictures to measure with" in run("bench", tmp_path / "empty").err


def heed_signals() -> None:
    """A shell has its background jobs ignore Ctrl-C, and they hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_commands(process: subprocess.Popen[Any]) -> None:
    """Wait until a process handles SIGTERM, which is when its command line is read, and a moment more."""
    for _ in range(600):
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]
        if caught >> (signal.SIGTERM - 1) & 1:
            break
        time.sleep(0.1)
    time.sleep(1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_that_waits(tmp_path: Path, number: int, status: int) -> None:
    command = [sys.executable, "-m", "crosslens", "embed", "--texts", "-", "--out", tmp_path / "v.npy"]
    command += ["--model", "fake"]
    how: dict[str, Any] = {"stdin": subprocess.PIPE, "preexec_fn": heed_signals}
    with subprocess.Popen(command, **how) as process:
        wait_for_commands(process)
        process.send_signal(number)
        assert process.wait(60) == status
    assert not (tmp_path / "v.npy").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_long_run_with_a_summary(
    pictures: Path, tmp_path: Path, number: int, status: int
) -> None:
    (tmp_path / "many").mkdir()
    for copy in range(8000):
        os.link(pictures / "red.png", tmp_path / "many" / f"{copy}.png")
    command = [sys.executable, "-m", "crosslens", "embed", tmp_path / "many", "--out", tmp_path / "v.npy"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals) as process:  # noqa: PLW1509
        wait_for_commands(process)
        process.send_signal(number)
        assert process.wait(60) == status
        assert process.stderr
        assert re.search(r"^interrupted: .*; nothing was written$", process.stderr.read(), re.MULTILINE)
    assert not (tmp_path / "v.npy").exists()


def test_index_runs_the_model_as_asked_and_notes_it(run: Run, pictures: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    done = run("index", "-L", library, pictures, "--precision", "f32", "--decode", "exact", "--device", "cpu")
    assert done.status == 0
    with sqlite3.connect(library / "library.sqlite3") as database:
        assert database.execute("SELECT DISTINCT runtime FROM vectors").fetchall() == [
            ("OpenVINO CPU f32, exact decoding",)
        ]


@pytest.mark.parametrize(
    ("option", "value"), [("--precision", "f64"), ("--decode", "half"), ("--device", "GPU.7")]
)
def test_a_way_of_running_that_there_is_not_is_refused(
    run: Run, pictures: Path, tmp_path: Path, option: str, value: str
) -> None:
    done = run("embed", pictures, "--out", tmp_path / "v.npy", option, value)
    assert done.status == 1
    assert value in done.err
    assert not (tmp_path / "v.npy").exists()
