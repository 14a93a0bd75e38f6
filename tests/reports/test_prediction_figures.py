"""What the figures of predictions show, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis
from sslbench.reports.figures import FIGURES
from sslbench.reports.sheets import CLASS_COLOURS, class_colours, sheet


def picture(value: int = 90) -> torch.Tensor:
    return torch.full((3, 16, 16), value, dtype=torch.uint8)


def line(image: int, run: str = "a-s0-1234", **values) -> dict:
    return {"run": run, "dataset": "set", "image": image, **values}


def box(image: int, side: str, verdict: str, label: int, left: float, **more) -> dict:
    return {
        **line(image, **more), "side": side, "class": f"name {label}", "label": label,
        "score": 0.75, "verdict": verdict, "left": left, "top": 2.0, "right": left + 5,
        "bottom": 9.0, "picture": "",
    }  # fmt: skip


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def rectangles(axes) -> list[tuple[float, float, float, float, str, bool]]:
    """Left, top, right, bottom, colour and whether dashed of the coloured ones."""
    out = []
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        if to_hex(patch.get_edgecolor()) != "#ffffff":
            (left, top), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
            colour = to_hex(patch.get_edgecolor())
            out.append(
                (left, top, left + width, top + height, colour, patch.get_linestyle() != "-")
            )
    return out


def test_boxes_stand_on_their_own_image_and_side():
    analysis = Analysis(
        name="predictions-detection",
        summary=[line(4, f1=50.0), line(2, f1=float("nan"))],
        points=[
            box(4, "truth", "found", 1, 3.0),
            box(4, "prediction", "right", 1, 3.5),
            box(2, "prediction", "wrong", 0, 7.0),
        ],
        pictures={"set test 4": picture(), "set test 2": picture(10)},
        notes=["a-s0-1234: something."],
    )
    figure = FIGURES["predictions-detection"](analysis)
    true4, found4, true2, found2 = figure.axes
    assert rectangles(true4) == [(3.0, 2.0, 8.0, 9.0, CLASS_COLOURS[1], False)]
    assert rectangles(found4) == [(3.5, 2.0, 8.5, 9.0, CLASS_COLOURS[1], False)]
    assert rectangles(true2) == []
    ((*_, dashed),) = rectangles(found2)
    assert dashed
    assert texts(true4) == ["name 1"]
    assert texts(found2) == ["name 0 0.75"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["test 4 · truth", "prediction · F1 50", "test 2 · truth",
                      "prediction · nothing to judge"]  # fmt: skip
    assert figure.axes[0].images[0].get_array().max() == 90
    assert figure.texts[0].get_text() == "a-s0: something."


def test_an_image_without_truth_and_detections_is_an_image():
    analysis = Analysis(
        name="predictions-detection", summary=[line(0, f1=float("nan"))],
        pictures={"set test 0": picture()},
    )  # fmt: skip
    figure = FIGURES["predictions-detection"](analysis)
    assert [len(axes.images) for axes in figure.axes] == [1, 1]
    assert not figure.axes[0].patches


def test_several_runs_share_the_truth_and_a_run_without_the_image_leaves_a_gap():
    analysis = Analysis(
        name="predictions-detection",
        summary=[line(0, f1=10.0), line(0, run="b-s0-5678", f1=20.0), line(1, f1=30.0)],
        points=[
            box(0, "truth", "missed", 0, 1.0),
            box(0, "truth", "found", 0, 1.0, run="b-s0-5678"),
            box(0, "prediction", "right", 0, 2.0, run="b-s0-5678"),
        ],
        pictures={"set test 0": picture(), "set test 1": picture()},
    )
    figure = FIGURES["predictions-detection"](analysis)
    truth, first, second, *_, gap = figure.axes
    ((*_, dashed),) = rectangles(truth)
    assert not dashed  # found by one and missed by the other
    assert rectangles(first) == []
    assert len(rectangles(second)) == 1
    assert second.get_title(loc="left") == "b-s0 · F1 20"
    assert gap.get_title(loc="left") == ""


def test_masks_are_drawn_translucently_where_they_are():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:9, 3:8] = True
    point = box(0, "prediction", "right", 2, 3.0) | {"picture": "a-s0-1234 set test 0 prediction 5"}
    analysis = Analysis(
        name="predictions-instance", summary=[line(0, mask_f1=100.0)], points=[point],
        pictures={"set test 0": picture(), point["picture"]: mask},
    )  # fmt: skip
    found = FIGURES["predictions-instance"](analysis).axes[1]
    shade = np.asarray(found.images[1].get_array())
    assert ((shade[..., 3] > 0) == mask.numpy()).all()
    assert 0 < shade[..., 3].max() < 1
    assert to_hex(shade[3, 4, :3]) == CLASS_COLOURS[2]
    assert not found.patches


def test_the_legend_names_the_classes_that_are_shown_row_by_row():
    true = torch.zeros(16, 16, dtype=torch.uint8)
    true[:4], true[4:6] = 2, 255
    names = {0: "none of the classes", 2: "dog", **{k: f"class {k}" for k in range(3, 10)}}
    analysis = Analysis(
        name="predictions-segmentation", summary=[line(0, iou=40.0)],
        points=[{**line(0), "class": name, "value": kind} for kind, name in names.items()],
        pictures={
            "set test 0": picture(), "a-s0-1234 set test 0 truth": true,
            "a-s0-1234 set test 0 prediction": torch.full_like(true, 9),
        },
    )  # fmt: skip
    figure = FIGURES["predictions-segmentation"](analysis)
    _, truth, prediction = figure.axes
    shown = np.asarray(truth.images[0].get_array())
    assert to_hex(shown[0, 0]) == CLASS_COLOURS[1]
    assert to_hex(shown[4, 0]) == "#9a9a9a"
    assert to_hex(np.asarray(prediction.images[0].get_array())[0, 0]) == CLASS_COLOURS[8]
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {*names.values(), "void"}
    patches = {t.get_text(): to_hex(h.get_facecolor()) for t, h in
               zip(legend.get_texts(), legend.legend_handles, strict=True)}  # fmt: skip
    assert patches["dog"] == CLASS_COLOURS[1]
    assert patches["void"] == "#9a9a9a"


def test_depth_has_one_range_and_a_colour_bar_and_unknown_depth_is_grey():
    true = torch.linspace(1, 2, 256).reshape(16, 16)
    true[0] = float("nan")
    analysis = Analysis(
        name="predictions-depth", summary=[line(0, abs_rel=0.125), line(1, abs_rel=0.5)],
        pictures={
            f"{start}set test {i}{end}": what
            for i in (0, 1)
            for start, end, what in (("", "", picture()), ("a-s0-1234 ", " truth", true + i),
                                     ("a-s0-1234 ", " prediction", 9 * torch.ones(16, 16)))
        },
    )  # fmt: skip
    figure = FIGURES["predictions-depth"](analysis)
    maps = [figure.axes[i].images[0] for i in (1, 2, 4, 5)]
    low, high = maps[0].get_clim()
    assert all(shown.get_clim() == (low, high) for shown in maps)
    assert low == pytest.approx(float(true[1, 0])) and high == pytest.approx(3.0)
    assert to_hex(maps[0].cmap.get_bad()) == "#9a9a9a"
    assert len(figure.axes) == 7
    assert figure.axes[2].get_title(loc="left") == "prediction · AbsRel 0.125"


def test_labels_are_listed_with_marks():
    words = {"cat": "right", "dog": "wrong", "cow": "doubtful"}
    points = [
        {**line(0), "class": name, "rank": i + 1, "score": 1.0 - i, "verdict": word}
        for i, (name, word) in enumerate(words.items())
    ]
    points.append(points[0] | {"class": "sheep", "rank": 17, "score": -3.0})
    analysis = Analysis(name="predictions-multilabel", summary=[line(0, ranking_ap=75.0)],
                        points=points, pictures={"set test 0": picture()})  # fmt: skip
    figure = FIGURES["predictions-multilabel"](analysis)
    assert "? doubtful; pale" in figure.texts[-1].get_text()
    _, axes = figure.axes
    shown = texts(axes)
    assert shown[:6] == ["✓", "cat", "1.00", "✗", "dog", "0.00"]
    assert "sheep (rank 17)" in shown


def test_twenty_classes_have_colours_of_their_own_and_more_take_them_by_place():
    assert len(set(class_colours(range(20)).values())) == 20
    assert class_colours([3, 3, 7]) == {3: CLASS_COLOURS[3], 7: CLASS_COLOURS[7]}
    assert class_colours([79, 3]) == {3: CLASS_COLOURS[0], 79: CLASS_COLOURS[1]}
    assert class_colours([]) == {}


@pytest.mark.parametrize("kind", ["all cones", "no green cones", "no red cones"])
def test_colours_of_classes_can_be_told_apart(kind):
    """CIELAB distances, as people without red or green cones see them (Machado et al. 2009)."""
    seen = {
        "all cones": np.eye(3),
        "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                           [-0.011820, 0.042940, 0.968881]],
        "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                         [-0.003882, -0.048116, 1.051998]],
    }[kind]  # fmt: skip
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.array(seen).T).clip(0, 1) @ to_xyz.T / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(20)
    assert distance.min() > (26 if kind == "all cones" else 14)


@pytest.mark.parametrize("side", [16, 64, 96, 224, 320])
def test_every_pixel_of_an_image_is_drawn_equally_large(side):
    page = sheet(3, [1.0, 1.0], side=side, head=["a"], foot_lines=1)
    width, height = page.figure.get_size_inches() * page.figure.dpi
    for axes in (panel for group in page.groups for panel in group):
        place = axes.get_position()
        for pixels in (place.width * width, place.height * height):
            assert pixels / side == pytest.approx(round(pixels / side))
        for corner in (place.x0 * width, place.y0 * height):
            assert corner == pytest.approx(round(corner))


def test_too_many_images_are_refused():
    with pytest.raises(UserError, match="show at most 40"):
        sheet(41, [1.0], side=64, head=[], foot_lines=0)
