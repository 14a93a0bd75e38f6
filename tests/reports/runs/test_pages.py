"""The three formats of one report."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sslbench.engine.folder import RunFolder
from sslbench.reports.runs import html
from sslbench.reports.runs.collect import collect, run_paths
from sslbench.reports.runs.html import html_page
from sslbench.reports.runs.markdown import markdown_page
from sslbench.reports.runs.terminal import show_runs
from sslbench.reports.runs.view import view
from tests.reports.test_html import Page, find_browser, screenshot


@pytest.fixture(scope="module")
def report(kept):
    found, others = run_paths(str(kept), kept)
    return view(collect(found, others=others))


@pytest.fixture(scope="module")
def page(report) -> str:
    return html_page(report)


def terminal(report) -> str:
    out = io.StringIO()
    show_runs(report, console=Console(file=out, width=100))
    return out.getvalue()


def test_page_is_well_formed_loads_nothing_and_its_links_lead_somewhere(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all(link.startswith(("#", "data:")) for link in parsed.loads)
    assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)
    assert "script" not in parsed.tags


@pytest.mark.parametrize("write", [html_page, markdown_page, terminal])
def test_every_format_says_the_same(report, write):
    text = re.sub(r"\\|\s+", " ", write(report))
    for word in (
        "simclr", "knn.v1", "raw-pixels", "failed", "The loss is not finite at step 3", "broken-s0",
        "notes", "without labels", "sslbench compare", "sslbench eval",
    ):  # fmt: skip
        assert word in text.replace("- ", "-"), word


def test_page_has_curves_and_a_legend_of_all_recipes(page):
    assert "Training, side by side" in page
    for name in ("training loss", "std·√D", "effective rank of the output"):
        assert page.count(f"<figcaption>{name}") >= 3
    assert "spread evenly" in page


def test_a_single_recipe_has_no_side_by_side(kept):
    (path,) = kept.glob("simsiam-*")
    assert "Training, side by side" not in html_page(view(collect([path])))


def test_figures_of_analyses_are_shown_and_a_damaged_one_is_named(store: Path):
    from matplotlib.figure import Figure

    (run,) = store.glob("simsiam-*")
    (run / "analyses").mkdir()
    Figure(figsize=(2, 1)).savefig(run / "analyses" / "spectrum.png", dpi=160)
    (run / "analyses" / "neighbours.png").write_bytes(b"\x89PNG")
    text = html_page(view(collect([run])))
    assert text.count('src="data:image/png') == 1
    assert "neighbours.png is no PNG file; run the analysis again." in text


def kept_curve(run: Path, protocol: str, losses: list[float]) -> None:
    """As a protocol that trains leaves it beside its score."""
    path = RunFolder(run).predictions_path("shapes", protocol)
    curve = np.stack([10 * np.arange(1, len(losses) + 1), losses], axis=1).astype(np.float32)
    np.savez_compressed(path, curve=curve)


def test_losses_of_protocols_that_train_are_drawn_alone_and_side_by_side(store: Path):
    for path in store.glob("simclr-s*"):
        if (path / "scores").is_dir():
            kept_curve(path, "knn.v1", [3.0, 2.0, 1.5])
    (untrained,) = store.glob("untrained-*")
    kept_curve(untrained, "knn.v1", [4.0, 3.5, 3.0])
    found, _ = run_paths(str(store), store)
    text = html_page(view(collect(found)))
    assert text.count("Training by protocols") == 4  # two recipes of SimCLR, untrained, and joint
    assert text.count("Training by protocols, side by side") == 1
    assert text.count("<figcaption>knn.v1 on shapes: loss") == 4


def test_a_fit_seen_once_or_kept_damaged_leaves_the_rest(store: Path):
    first, second = sorted(store.glob("simclr-s[01]-*"))[:2]
    (untrained,) = store.glob("untrained-*")
    kept_curve(untrained, "knn.v1", [1.0, 0.5])
    page = html_page(view(collect([untrained])))
    assert page.count("Training by protocols") == 1  # and nothing stands beside it
    RunFolder(untrained).predictions_path("shapes", "knn.v1").write_bytes(b"PK")
    page = html_page(view(collect([untrained, first, second])))
    assert "Training by protocols" not in page
    assert "is damaged (BadZipFile)" in page


def test_recipes_beyond_the_drawn_ones_say_so(report, monkeypatch):
    monkeypatch.setattr(html, "MAX_DRAWN", 1)
    text = html_page(report)
    assert text.count("drawn for the first 1 recipes") == len(report.groups) - 1


def test_names_are_text_not_markup(store: Path):
    (run,) = store.glob("simsiam-*")
    summary = (run / "run.json").read_text()
    (run / "run.json").write_text(summary.replace('"device": "', '"device": "<script>&'))
    text = html_page(view(collect([run])))
    assert "<script" not in text and "&lt;script&gt;&amp;" in text


def test_page_opens_in_a_browser(page, tmp_path):
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium here: the page was parsed, not opened")
    path = tmp_path / "runs.html"
    path.write_text(page)
    for width in (1200, 400):
        image, console = screenshot(browser, path, width=width, height=2000)
        assert len(image) > 50_000 and not console
