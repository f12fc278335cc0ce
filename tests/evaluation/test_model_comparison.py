"""Several models on one set: each in its own process, a table, a plot, a report that needs nothing else."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundles import write_bundle
from crosslens.errors import CrosslensError, InputError, MissingExtraError, UnknownModelError
from crosslens.evaluation import Comparison, compare_models, load_pairs
from crosslens.evaluation.html_report import write_html
from crosslens.evaluation.measure_process import Measured
from crosslens.evaluation.model_comparison import as_markdown, split_precision
from crosslens.evaluation.plots import check_plot, draw, plot_bytes
from crosslens.types import Progress


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of four colours; the caption of one is another's."""
    import numpy as np
    from PIL import Image

    from crosslens.towers.fake_model import COLOURS

    folder = tmp_path_factory.mktemp("set")
    texts = {"red": "red", "green": "green", "blue": "blue", "yellow": "<b>blue</b> & green"}
    for colour in texts:
        rgb = [int(255 * part) for part in COLOURS[colour]]
        Image.fromarray(np.full((40, 30, 3), rgb, np.uint8)).save(folder / f"{colour}.png")
    rows = [f"{colour}.png,{text}" for colour, text in texts.items()]
    (folder / "captions.csv").write_text("\n".join(["image,text", *rows]))
    return folder


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    tiny = tmp_path_factory.mktemp("models") / "tiny"
    write_bundle(tiny, "clip")
    told: list[object] = []
    found = compare_models(
        ["fake", f"{tiny}:f32"],
        data,
        on_model=lambda _name, number, count: told.append((number, count)),
        on_progress=told.append,
    )
    assert [step for step in told if isinstance(step, tuple)] == [(0, 2), (1, 2)]
    assert any(isinstance(step, Progress) for step in told)
    return found


def test_each_model_is_measured_in_its_own_process(compared: Comparison) -> None:
    fake, tiny = compared.measured
    assert (compared.images, compared.texts) == (4, 4)
    assert fake.figure("recall@1")["value"] == 0.75
    assert (fake.precision, tiny.precision) == ("auto", "f32")
    assert "f32" in tiny.runtime
    # Python and NumPy alone, and with OpenVINO; neither is the memory of the process that asked.
    assert 20e6 < fake.memory < tiny.memory
    assert (fake.size, tiny.size > 50_000) == (0, True)
    [miss] = fake.worst
    assert (miss.text, miss.wanted.rpartition("/")[2]) == ("<b>blue</b> & green", "yellow.png")
    assert miss.rank > 1


def variant(one: Measured, name: str, speed: float, quality: float) -> Measured:
    summary = json.loads(json.dumps(one.summary))
    summary["images_per_second"] = speed
    figure = {"value": quality, "low": quality - 0.05, "high": quality + 0.05}
    summary["directions"]["text_to_image"]["figures"]["recall@10"] = figure
    return replace(one, model=name, summary=summary)


def test_the_front_holds_what_no_other_beats(compared: Comparison) -> None:
    one = compared.measured[0]
    points = {
        "slow": (10, 0.9),
        "fast": (100, 0.5),
        "beaten": (9, 0.8),
        "equal": (100, 0.5),
        "middle": (50, 0.7),
    }
    some = replace(compared, measured=tuple(variant(one, n, *at) for n, at in points.items()))
    assert [m.model for m in some.front] == ["fast", "middle", "slow"]
    lines = {
        line.split("|")[1].strip(): line for line in as_markdown(some).splitlines() if line.startswith("| ")
    }
    assert "beaten in quality and speed" in lines["beaten"]
    assert "beaten" not in lines["slow"]


def test_the_table_is_markdown(compared: Comparison) -> None:
    text, _, head, rule, *rows = as_markdown(compared).splitlines()
    assert text.startswith("set")
    assert head.count("|") == rule.count("|") == rows[0].count("|")
    assert "| fake | 75.0 % (" in rows[0]


def test_plots_are_png_and_svg(compared: Comparison, tmp_path: Path) -> None:
    draw(compared, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    draw(compared, tmp_path / "plot.svg")
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()
    assert plot_bytes(compared, "svg") == plot_bytes(compared, "svg")
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        check_plot(tmp_path / "plot.jpg")


def test_the_report_needs_no_other_file_and_shows_failures(
    compared: Comparison, data: Path, tmp_path: Path
) -> None:
    write_html(compared, load_pairs(data), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", page)
    assert "&lt;b&gt;blue&lt;/b&gt; &amp; green" in page
    assert "<b>" not in page
    assert page.count("data:image/jpeg;base64,") >= 3
    assert "data:image/svg+xml;base64," in page
    assert "ranked " in page


def test_without_matplotlib_the_report_says_so(
    compared: Comparison, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"crosslens\[plot\]"):
        check_plot(tmp_path / "plot.png")
    write_html(compared, load_pairs(data), tmp_path / "report.html")
    assert "crosslens[plot]" in (tmp_path / "report.html").read_text()


def test_what_goes_wrong_in_the_other_process_is_told(data: Path) -> None:
    with pytest.raises(CrosslensError, match="no 'left'"):
        compare_models(["fake"], data, options={"image_column": "left"})
    with pytest.raises(UnknownModelError):
        compare_models(["fake", "no-such-model"], data)
    with pytest.raises(InputError, match="no models"):
        compare_models([], data)


@pytest.mark.parametrize(
    ("given", "found"),
    [("starter", ("starter", "auto")), ("starter:int8", ("starter", "int8")), ("a/b:bf16", ("a/b", "bf16")),
     ("odd:name", ("odd:name", "auto"))],
)  # fmt: skip
def test_a_precision_follows_a_colon(given: str, found: tuple[str, str]) -> None:
    assert split_precision(given) == found


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    from crosslens.cli.app import main

    monkeypatch.setattr("crosslens.cli.app._prepare_streams", lambda: None)

    def run(*words: object) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    terminate = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, terminate)


def test_the_command_writes_everything(
    command: Callable[..., tuple[int, str, str]], data: Path, tmp_path: Path
) -> None:
    files = {kind: tmp_path / f"out.{kind}" for kind in ("markdown", "html", "svg")}
    status, out, err = command(
        "compare", "fake", "--data", data, "--json", "--markdown", files["markdown"], "--html", files["html"],
        "--plot", files["svg"],
    )  # fmt: skip
    assert (status, "fake (1 of 1)" in err) == (0, True)
    found = json.loads(out)
    assert found["models"][0]["on_front"] is True
    assert (
        found["models"][0]["summary"]["directions"]["text_to_image"]["figures"]["recall@1"]["value"] == 0.75
    )
    assert all(path.stat().st_size for path in files.values())


def test_evaluate_prints_figures_and_writes_queries(
    command: Callable[..., tuple[int, str, str]], data: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet

    out = tmp_path / "queries.parquet"
    status, printed, _ = command("evaluate", "retrieval", data, "--model", "fake", "--json", "--out", out)
    found = json.loads(printed)
    assert status == 0
    assert found["directions"]["text_to_image"]["queries"] == 4
    rows = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["rank"] for row in rows if row["direction"] == "text_to_image"][:3] == [1, 1, 1]
    assert rows[0]["wanted"] == rows[0]["found"][:1] == [str(data / "red.png")]
    status, printed, _ = command("evaluate", "retrieval", data, "--model", "fake")
    assert (status, "recall@1" in printed, "text → image" in printed) == (0, True, True)


def test_evaluate_pairs_stores_a_fit_and_uses_it(
    command: Callable[..., tuple[int, str, str]], data: Path, tmp_path: Path
) -> None:
    rows = [f"{c}.png,{t},{int(c == t)}" for c in ("red", "green", "blue") for t in ("red", "green", "blue")]
    table = data / "rows.tsv"
    table.write_text("\n".join(["image,text,match", *rows]).replace(",", "\t"))
    kept = tmp_path / "fit.json"
    asked = ("evaluate", "pairs", table, "--model", "fake", "--json", "--calibration", kept)
    status, printed, err = command(*asked, "--calibrate", "platt")
    assert status == 0, err
    found = json.loads(printed)
    assert found["figures"]["roc_auc"]["value"] == 1.0
    assert found["drawn"] is False
    assert found["calibration"]["file"] == str(kept)
    status, printed, _ = command(*asked)
    assert json.loads(printed)["fitted_on"] == found["calibration"]["fitted_on"]
    assert json.loads(printed)["figures"]["log_loss"]["value"] < 0.5
    status, _, err = command("evaluate", "pairs", table, "--calibrate", "guess")
    assert (status, "Wanted platt or isotonic" in err) == (1, True)


def test_evaluate_classes_takes_names_and_templates(
    command: Callable[..., tuple[int, str, str]], paint: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [paint(f"{name}/a.png", colour) for name, colour in (("n1", "red"), ("n2", "blue"))]
    folder = paths[0].parents[1]
    (tmp_path / "names.txt").write_text("n1\tred\nn2\tblue\n")
    (tmp_path / "templates.txt").write_text("a {} wall\n{}\n")
    status, printed, err = command(
        "evaluate", "classes", folder, "--model", "fake", "--json", "--names", tmp_path / "names.txt",
        "--templates", tmp_path / "templates.txt",
    )  # fmt: skip
    assert status == 0, err
    found = json.loads(printed)
    assert found["classes"] == ["red", "blue"]
    assert found["confusion"] == [[1, 0], [0, 1]]
    (folder / "n1" / "b.png").write_bytes(b"no picture")
    status, printed, err = command("evaluate", "classes", folder, "--model", "fake")
    assert (status, "b.png" in err, "top1" in printed) == (1, True, True)


def test_a_wrong_name_of_a_file_is_told_before_the_work(
    command: Callable[..., tuple[int, str, str]], data: Path
) -> None:
    status, _, err = command("evaluate", "retrieval", data, "--model", "fake", "--out", "x.csv")
    assert (status, "ends in .parquet" in err) == (1, True)
    status, _, err = command("evaluate", "retrieval", data, "--where", "split")
    assert (status, "COLUMN=VALUE" in err) == (1, True)
