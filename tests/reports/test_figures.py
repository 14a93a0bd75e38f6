"""Figures from made-up numbers: they open, and show every series that there is a record of."""

from __future__ import annotations

import io
import math
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis
from sslbench.reports.analyses import show_analysis, write_analysis
from sslbench.reports.figures import FIGURES
from sslbench.reports.panels import short_names

RUNS = ("simclr-s0-1a2b3c4d5e6f7a8b", "byol-s1-0f0e0d0c0b0a0908")
BATCHES = (32, 64)


def similarity() -> Analysis:
    return Analysis(
        name="similarity",
        summary=[{"run": r, "space": "projection", "tolerance": 0.2} for r in RUNS],
        points=[
            {"run": r, "series": s, "cosine": x / 10, "density": float(x == 3)}
            for r in RUNS
            for s in ("pos", "n1", "n2")
            for x in range(10)
        ],
    )


def hypersphere() -> Analysis:
    common = {"alignment": 0.1, "uniformity": -2.0, "plane_percent": 40.0}
    points = [
        {"run": r, "kind": kind, "group": group, "x": x / 5, "density": 1.0 + x}
        for r in RUNS
        for kind, groups in (("distance", ("",)), ("angle", ("", "cat", "<d$g$>")),
                             ("image", ("cat", "<d$g$>")))
        for group in groups
        for x in range(-9, 10)
    ]  # fmt: skip
    planes = ("features", "principal components")
    summary = [{"run": r, "plane": p, **common} for r, p in zip(RUNS, planes, strict=True)]
    return Analysis(name="hypersphere", summary=summary, points=points)


def landscape() -> Analysis:
    kinds = ("self-supervised", "supervised", "not trained here")
    return Analysis(
        name="landscape",
        summary=[
            {"run": f"r{i}", "dataset": d, "kind": kinds[i % 3], "alignment": 0.1 * i,
             "uniformity": -0.3 * i, "top1": 10.0 * i}
            for i, d in enumerate(("cifar10 1", "stl10 2") * 4)
        ],
        notes=["a note"],
    )  # fmt: skip


def spectrum() -> Analysis:
    states = ("none", "complete")
    return Analysis(
        name="spectrum",
        summary=[
            {"run": r, "space": "projection", "effective_rank": 3.0, "collapse": c}
            for r, c in zip(RUNS, states, strict=True)
        ],
        points=[
            {"run": r, "index": i, "of_the_largest": 0.0 if r == RUNS[1] else 10.0 ** (1 - i)}
            for r in RUNS
            for i in range(1, 9)
        ],
    )


def coupling() -> Analysis:
    own = [{"run": r, "temperature": 0.1, "batch_size": b} for r in RUNS for b in BATCHES]
    return Analysis(
        name="coupling",
        summary=[{**o, "mean": 0.5, "variation": math.nan} for o in own],
        points=[{**o, "multiplier": x / 5, "density": float(x)} for o in own for x in range(5)],
    )


def sampling_bias() -> Analysis:
    names = ("false_percent", "false_percent_expected", "any_false_percent", "loss_biased",
             "any_false_percent_expected", "any_false_percent_at_prior", "loss_debiased",
             "loss_unbiased", "log_term_biased", "log_term_debiased")  # fmt: skip
    common = {"run": RUNS[0], "space": "projection", "temperature": 0.1}
    return Analysis(
        name="sampling-bias",
        summary=[
            {**common, "batch_size": b, "class_prior": p, **dict.fromkeys(names, 12.345)}
            for b in BATCHES
            for p in (0.1, 0.2)
        ],
        points=[
            {"group": g, "cosine": x / 5, "density": 1.0}
            for g in ("positive", "true negative", "false negative")
            for x in range(-5, 6)
        ],
    )


ANALYSES = [similarity, hypersphere, landscape, spectrum, coupling, sampling_bias]


@pytest.mark.parametrize("make", ANALYSES)
def test_files_open_and_tell_what_the_records_tell(make, tmp_path: Path):
    analysis = make()
    files = {path.suffixes[0]: path for path in write_analysis(analysis, tmp_path)}
    root = ET.parse(files[".svg"]).getroot()
    assert root.tag.endswith("svg")
    image = files[".png"].read_bytes()
    assert image.startswith(b"\x89PNG")
    assert min(struct.unpack(">II", image[16:24])) > 300
    assert pd.read_csv(files[".csv"]).to_dict("records")[0]["run"] == analysis.summary[0]["run"]
    assert (".points" in files) == bool(analysis.points)
    if analysis.points:
        points = pd.read_csv(tmp_path / f"{analysis.name}.points.csv")
        assert len(points) == len(analysis.points)


def test_every_analysis_has_a_figure():
    assert {make().name for make in ANALYSES} == set(FIGURES)


def test_similarity_has_a_violin_a_series_and_a_panel_a_run():
    figure = FIGURES["similarity"](similarity())
    assert [len(axes.collections) for axes in figure.axes] == [3, 3]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["pos", "n1", "n2"]


def test_hypersphere_has_a_circle_for_all_images_and_each_class():
    figure = FIGURES["hypersphere"](hypersphere())
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["simclr-s0", "all images", "cat", "<d$g$>",
                      "byol-s1", "all images", "cat", "<d$g$>"]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_title() == "all images"] == [
        "the features themselves", "principal components\n40 % of the variance",
    ]  # fmt: skip


def test_landscape_has_a_panel_a_data_set_and_a_mark_a_run():
    figure = FIGURES["landscape"](landscape())
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [f"{d}: 4 encoders" for d in
                                                     ("cifar10 1", "stl10 2")]  # fmt: skip
    assert [sum(len(c.get_offsets()) for c in axes.collections) for axes in panels] == [4, 4]


def test_spectrum_has_a_line_a_run_and_names_the_collapse():
    figure = FIGURES["spectrum"](spectrum())
    first, second = figure.axes[0].get_lines()
    assert list(first.get_ydata()) == [10.0 ** (1 - i) for i in range(1, 9)]
    assert all(math.isnan(y) for y in second.get_ydata())
    assert "complete collapse" in second.get_label()


def test_coupling_has_a_line_a_run_and_a_curve_a_batch_size():
    figure = FIGURES["coupling"](coupling())
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2, 2, 2]
    assert list(figure.axes[0].get_lines()[0].get_xdata()) == list(BATCHES)


def test_sampling_bias_has_three_estimates_and_three_kinds_of_pairs():
    share, losses, cosines = FIGURES["sampling-bias"](sampling_bias()).axes
    labels = [line.get_label() for line in losses.get_lines()]
    assert labels == ["biased", "debiased, prior 0.1", "debiased, prior 0.2", "unbiased"]
    assert len(share.get_lines()) == 6
    assert len(cosines.get_lines()) == 3


def test_the_same_numbers_give_the_same_file(tmp_path: Path):
    for folder in ("a", "b"):
        write_analysis(spectrum(), tmp_path / folder)
    assert (tmp_path / "a/spectrum.svg").read_bytes() == (tmp_path / "b/spectrum.svg").read_bytes()


def test_too_many_runs_are_refused_and_nothing_is_written(tmp_path: Path):
    analysis = Analysis(name="spectrum", summary=[{"run": f"r-{i}"} for i in range(9)])
    with pytest.raises(UserError, match="at most 8"):
        write_analysis(analysis, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_have_as_much_of_the_digest_as_they_need():
    assert short_names(list(RUNS)) == {RUNS[0]: "simclr-s0", RUNS[1]: "byol-s1"}
    other = "simclr-s0-1a2b999999999999"
    assert short_names([RUNS[0], other]) == {
        RUNS[0]: "simclr-s0-1a2b3c4d", other: "simclr-s0-1a2b9999",
    }  # fmt: skip
    assert short_names(["plain"]) == {"plain": "plain"}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_number_is_cut_off_in_the_terminal(width: int):
    out = io.StringIO()
    show_analysis(sampling_bias(), console=Console(file=out, width=width))
    text = out.getvalue()
    assert "…" not in text
    assert text.count("12.3") == 10  # what all lines share stands once, above them


def test_terminal_shows_notes_and_what_is_missing():
    out = io.StringIO()
    show_analysis(landscape(), console=Console(file=out, width=100))
    assert "· a note" in out.getvalue()
    out = io.StringIO()
    one = Analysis(name="coupling", summary=[{"run": "a-b", "x": math.nan, "y": 1e-9, "z": -0.5}])
    show_analysis(one, console=Console(file=out, width=100))
    assert out.getvalue().split()[-4:] == ["a", "–", "1.0e-09", "−0.500"]
