from __future__ import annotations

import dataclasses
import re
import shutil
import struct
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sslbench.reports.html import html_report
from sslbench.tables.results import MeasuredTable

VOID = {"meta", "link", "br", "hr", "img", "path", "use"}


class Page(HTMLParser):
    """Checks that tags match and collects what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        links = [values[n] for n in ("href", "src", "srcset", "data", "xlink:href") if n in values]
        (self.links if tag == "a" else self.loads).extend(links)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def page(
    stop_grad: MeasuredTable,
    awkward: MeasuredTable,
    augmentations: MeasuredTable,
    published_only: MeasuredTable,
    runs: Path,
) -> str:
    other = dataclasses.replace(stop_grad, scale="cifar")
    return html_report([stop_grad, awkward, augmentations, published_only, other], runs=runs)


def find_browser() -> str | None:
    """A Chromium on this machine (`make test` installs one where it may)."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def screenshot(browser: str, page: Path, *, width: int, height: int) -> tuple[bytes, list[str]]:
    """The page as PNG, and what its console said."""
    image = page.with_suffix(f".{width}.png")
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={width},{height}",
        f"--screenshot={image}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return image.read_bytes(), [x for x in done.stderr.splitlines() if "CONSOLE" in x]


def test_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all(link.startswith(("#", "data:")) for link in parsed.loads)
    assert "script" not in parsed.tags
    assert not re.search(r"@import|url\((?!#)", page)


def test_index_links_lead_to_tables(
    stop_grad: MeasuredTable, published_only: MeasuredTable
) -> None:
    parsed = Page(html_report([stop_grad, published_only]))
    assert len(parsed.links) == 2
    assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)


@pytest.mark.filterwarnings("default:no Chromium")
def test_page_opens_in_a_browser(page: str, tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        warnings.warn("no Chromium here: the page was parsed, not opened", stacklevel=1)
        Page(page)
        return
    path = tmp_path / "report.html"
    path.write_text(page)
    for width in (1200, 400):
        image, console = screenshot(browser, path, width=width, height=2000)
        assert struct.unpack(">II", image[16:24]) == (width, 2000)
        assert len(image) > 50_000
        assert not console


def test_analyses_stand_with_the_table_of_their_run_and_at_the_end(
    stop_grad: MeasuredTable, runs: Path, tmp_path: Path
) -> None:
    from matplotlib.figure import Figure

    name = stop_grad.rows[0].cells["top1"].runs[0]
    for folder, file in ((runs / name / "analyses", "sampling-bias"), (tmp_path, "attention")):
        folder.mkdir(exist_ok=True)
        Figure(figsize=(2, 1)).savefig(folder / f"{file}.png", dpi=160)
    text = html_report([stop_grad], runs=runs, analyses=tmp_path)
    parsed = Page(text)
    images = [link for link in parsed.loads if link.startswith("data:image/png")]
    assert len(images) == 2
    assert text.count('width="192" height="96"') == 2
    assert f'alt="sampling bias, {name.rpartition("-")[0]}"' in text
    assert "<figcaption>attention</figcaption>" in text
    assert "#analyses" in parsed.links
    assert "analyses" not in Page(html_report([stop_grad], analyses=tmp_path / "none")).ids


def test_labels_are_text_not_markup(awkward: MeasuredTable) -> None:
    text = html_report([awkward])
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "lr_base &lt; 0.1 &amp; wd &gt; 5%" in text
    assert "$y$" in text


def test_training_curves_need_the_runs(stop_grad: MeasuredTable, runs: Path) -> None:
    assert "std of the normalised output" in html_report([stop_grad], runs=runs)
    assert "std of the normalised output" not in html_report([stop_grad])


def test_grid_of_augmentations_is_shown_as_two_maps(augmentations: MeasuredTable) -> None:
    text = html_report([augmentations])
    assert "<figcaption>ours</figcaption>" in text
    assert "<figcaption>published</figcaption>" in text


def test_claims_carry_outcome_and_deciding_numbers(stop_grad: MeasuredTable) -> None:
    text = html_report([stop_grad])
    assert "✓ held" in text
    assert "? undecided" in text
    assert "with.std - 0.0625 = -0.0022 ± 0.004" in text


def test_published_only_table_is_marked(published_only: MeasuredTable) -> None:
    text = html_report([published_only])
    assert "not measured here" in text
    assert "73.2" in text
    assert "<svg" not in text


def test_plots_take_their_ink_from_the_page(stop_grad: MeasuredTable, runs: Path) -> None:
    text = html_report([stop_grad], runs=runs)
    assert "currentColor" in text
    assert "#000000" not in text
