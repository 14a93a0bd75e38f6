"""Figures from made-up numbers: they open, and show every series that there is a record of."""

from __future__ import annotations

import dataclasses
import io
import math
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis
from sslbench.reports.analyses import show_analysis, write_analysis
from sslbench.reports.figures import FIGURES
from sslbench.reports.panels import short_names

RUNS = ("simclr-s0-1a2b3c4d5e6f7a8b", "byol-s1-0f0e0d0c0b0a0908")
BATCHES = (32, 64)
IMAGE = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)


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


def neighbours() -> Analysis:
    return Analysis(
        name="neighbours",
        summary=[{"run": r, "same_class_percent": 40.0} for r in RUNS],
        points=[
            {"run": r, "query": q, "class": "cat", "rank": k, "picture": f"train {k}",
             "neighbour_class": "<d$g$>", "same_class": k == 2, "cosine": 0.5}
            for r in RUNS
            for q in ("test 1", "test 2")
            for k in (1, 2, 3)
        ],
        pictures=dict.fromkeys(("test 1", "test 2", "train 1", "train 2", "train 3"), IMAGE),
    )  # fmt: skip


def attention() -> Analysis:
    points = [
        {"run": r, "image": "test 1", "head": h, "best": h == 1, "picture": f"{r} {h}"}
        for r in RUNS
        for h in range(3)
    ]
    pictures = {"test 1": IMAGE}
    for point in points:
        pictures[point["picture"]] = torch.arange(6.0).view(2, 3)
        pictures[f"{point['picture']} kept"] = (torch.arange(6.0) > 2).float().view(2, 3)
    common = {"keep_percent": 60.0, "untrained_jaccard": 20.0}
    summary = [
        {"run": r, "jaccard": j, **common} for r, j in zip(RUNS, (30.0, math.nan), strict=True)
    ]
    return Analysis(name="attention", summary=summary, points=points, pictures=pictures)


def prototypes() -> Analysis:
    def point(kind: str, **more: object) -> dict[str, object]:
        common = {"run": RUNS[0], "kind": kind, "rank": 0, "picture": "", "class": ""}
        return common | more

    usage = [point("usage", head=h, prototype=k, value=k / 6) for h in range(2) for k in range(4)]
    images = [
        point("image", head=h, prototype=3, value=0.9, rank=k, picture="train 1")
        for h in range(2)
        for k in (1, 2)
    ]
    return Analysis(
        name="prototypes",
        summary=[{"run": RUNS[0], "head": h} for h in range(2)],
        points=[*usage, *images],
        pictures={"train 1": IMAGE},
    )


def stability() -> Analysis:
    def points(run: str) -> list[dict[str, object]]:
        rows = [("maximum", layer, s, s + 1, 2.0 + s) for layer in "abcdefgh" for s in range(5)]
        rows += [("knn", "", s, s, 40.0 - s) for s in range(5)]
        rows += [("spike", "a", 2, 3, 4.0), ("dip", "", 1, 3, 2.0)]
        names = ("kind", "layer", "begin", "step", "value")
        return [{"run": run, **dict(zip(names, row, strict=True))} for row in rows]

    summary = [{"run": r, "spikes": 1, "dips": 1, "dips_with_spike": 1} for r in RUNS]
    return Analysis(name="stability", summary=summary, points=[p for r in RUNS for p in points(r)])


def reconstruction() -> Analysis:
    shown = [(run, ratio) for run in RUNS for ratio in (0.5, 0.75)]
    points = [
        {"run": run, "image": "test 3", "ratio": ratio, "picture": f"{run} {ratio}",
         "hidden_mse": 0.25}
        for run, ratio in shown
    ]  # fmt: skip
    drawn = {f"{p['picture']} {kind}": IMAGE for p in points for kind in ("seen", "filled")}
    return Analysis(
        name="reconstruction",
        summary=[
            {"run": run, "ratio": ratio, "hidden_mse": 0.3, "mean_colour_mse": 0.9}
            for run, ratio in shown
        ],
        points=points,
        pictures={"test 3": IMAGE, **drawn},
    )


ANALYSES = [
    similarity, hypersphere, landscape, spectrum, coupling, sampling_bias, neighbours, attention,
    reconstruction, prototypes, stability,
]  # fmt: skip


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
    drawn_elsewhere = {n for n in FIGURES if n.startswith(("predictions-", "per-class-"))}
    assert {make().name for make in ANALYSES} == set(FIGURES) - drawn_elsewhere


def test_a_reconstruction_is_a_row_a_run_with_a_pair_of_images_a_ratio():
    figure = FIGURES["reconstruction"](reconstruction())
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == len(RUNS) * (1 + 2 * 2)
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles == ["", "50 % hidden", "error 0.25", "75 % hidden", "error 0.25"]
    assert "75 %: 0.30 (0.90)" in figure.get_suptitle()


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


def test_neighbours_have_a_row_a_query_and_run_and_a_border_a_neighbour():
    figure = FIGURES["neighbours"](neighbours())
    rows = [figure.axes[i : i + 4] for i in range(0, 16, 4)]
    assert [row[0].get_ylabel() for row in rows] == ["simclr-s0", "byol-s1"] * 2
    right, wrong = rows[0][2].spines["left"], rows[0][1].spines["left"]
    assert right.get_visible() and wrong.get_visible()
    assert right.get_edgecolor() != wrong.get_edgecolor()
    assert (right.get_linestyle(), wrong.get_linestyle()) != ("-", "-")
    assert rows[0][1].get_title() == "<d$g$> 0.50"
    assert "40.0 %" in figure.get_suptitle()


def test_a_grid_that_nobody_could_read_is_refused(tmp_path: Path):
    one = neighbours()
    points = [p | {"query": f"test {i}"} for i in range(21) for p in one.points]
    many = dataclasses.replace(one, points=points)
    with pytest.raises(UserError, match="42 rows of 4 images"):
        write_analysis(many, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_attention_has_a_map_a_head_and_a_frame_around_the_best():
    figure = FIGURES["attention"](attention())
    maps = figure.axes[1:4]
    assert [axes.get_title() for axes in maps] == ["head 0", "head 1", "head 2"]
    assert [axes.spines["left"].get_visible() for axes in maps] == [False, True, False]
    assert figure.get_suptitle().splitlines()[-1] == "simclr-s0: 30.0 (untrained 20.0)"


def test_prototypes_have_a_line_a_head_and_rows_of_images():
    figure = FIGURES["prototypes"](prototypes())
    usage, *images = figure.axes
    assert [list(line.get_ydata()) for line in usage.get_lines()[:2]] == [
        pytest.approx([50, 100 / 3, 100 / 6, 0])
    ] * 2
    assert [axes.get_ylabel() for axes in images] == ["0/3", "", "1/3", ""]


def test_stability_has_a_line_a_layer_and_shades_its_spikes():
    figure = FIGURES["stability"](stability())
    gradients, curve = figure.axes[:2]
    assert len(gradients.get_lines()) == 8
    assert len(gradients.get_legend().get_texts()) == 6
    assert len(curve.get_lines()) == 2  # the curve, and its dip over it
    assert len(gradients.patches) == len(curve.patches) == 1


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
