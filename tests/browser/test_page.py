"""The page in a real browser, in front of the real service. Each scenario is in scenarios/*.mjs."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "crosslens" / "serve" / "page"
WEB = ROOT / "web"

Look = Callable[..., None]


@pytest.mark.parametrize(
    "scenario",
    [
        "search/words_find_pictures_and_the_way_back_works",
        "search/filters_are_completed_and_become_chips",
        "search/a_mistake_is_shown_where_it_stands",
        "search/a_picture_that_is_dropped_is_searched_by_and_combined",
        "search/more_less_and_without_this",
        "search/upright_is_upright",
        "grid/everything_by_keys_alone",
        "grid/ten_thousand_results_are_few_elements",
        "grid/what_flies_by_is_not_waited_for",
        "grid/grouped_by_date_and_where_relevance_ends",
        "grid/selected_results_are_exported",
        "grid/chosen_by_touch",
        "lightbox/shows_why_and_where",
        "lightbox/comes_nearer_and_turns_the_pages",
        "libraries/uploads_with_progress_and_failures",
        "libraries/a_folder_of_the_service",
        "libraries/many_files_are_one_upload",
        "libraries/duplicates_are_selected_but_for_the_first",
        "staying/coming_back_finds_what_one_left",
        "staying/closing_a_picture_is_the_way_back",
        "staying/what_is_new_is_told",
        "teach/marks_change_the_list_and_are_saved_as_a_tag",
        "teach/taught_by_a_selection_and_by_keys",
        "workbench/labels_pairs_and_matrix",
        "workbench/the_map",
        "looks/dark_and_light",
        "looks/a_phone",
        "looks/offline_and_back",
        "looks/a_page_that_fails_is_asked_for_again",
        "looks/no_finding_of_axe",
        "looks/first_paint_is_early",
    ],
)
def test_in_the_browser(scenario: str, service: str, look: Look) -> None:
    look(scenario, service)


def test_with_a_key(serve: Callable[..., Any], look: Look, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    made = subprocess.run(
        [sys.executable, "-m", "crosslens", "keys", "add", "page", "--scope", "read", "--keys", str(keys)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    [key] = [word for word in made.stdout.split() if word.startswith("xl_")]
    served = serve("--keys", str(keys))
    look("keys/a_key_is_asked_for_and_sent", served.address, key=key)


def test_who_has_nothing_yet(serve: Callable[..., Any], look: Look, tmp_path: Path) -> None:
    served = serve(of=tmp_path / "still" / "to be made" / "pictures")
    look("staying/the_first_pictures_are_dropped_where_they_are_missed", served.address)


def test_all_of_the_page_is_small() -> None:
    """Everything that a browser loads, compressed: at most 250 kB."""
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert any(path.name == "index.html" for path in files), "make the page: npm run build --prefix web"
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 250_000


def test_the_page_asks_nobody_else() -> None:
    """No address of another place is loaded; names of XML are no addresses."""
    for path in PAGE.rglob("*.*"):
        text = path.read_text().replace("http://www.w3.org/", "")
        assert "//cdn" not in text
        assert 'src="http' not in text
        assert "url(http" not in text
        assert "http:" not in text
    assert "<script>" not in (PAGE / "index.html").read_text()


def test_the_page_is_that_of_its_sources(chromium: str, tmp_path: Path) -> None:
    """What is in the wheel was built from what is in web/."""
    subprocess.run(
        ["npx", "vite", "build", "--outDir", str(tmp_path / "page"), "--logLevel", "error"],
        cwd=WEB, check=True, capture_output=True,
    )  # fmt: skip

    def files(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    assert files(tmp_path / "page") == files(PAGE)


def test_the_parts_that_need_no_browser(chromium: str) -> None:
    done = subprocess.run(["npm", "test"], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
