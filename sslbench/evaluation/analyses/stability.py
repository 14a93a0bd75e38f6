"""Gradients by layer over a run: spikes, and the dips of the kNN curve that come with them."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sslbench.engine.folder import RunFolder
from sslbench.engine.gradients import MAXIMUM, MEAN, layers_of
from sslbench.engine.monitors import knn_dips
from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import Analysis, Record

FACTOR = 3.0  # times the running median: a spike
RUNNING = 20  # windows before it, that the median is of
LEAST = 5  # windows before the first that can be a spike
NAMED = 5  # spikes that the notes name, the highest; all are among the points
DIP = 1.0  # points that the kNN curve must fall by: a dip


@dataclass(frozen=True)
class Spike:
    """Windows of steps, one after the other, in which some layer's gradient was a spike.

    `begin` < step <= `end`. `layers` are those that spiked, the ones of the first window first,
    and among them the highest first; `height` is the largest maximum over its running median.
    """

    begin: int
    end: int
    layers: tuple[str, ...]
    height: float


@dataclass(frozen=True)
class Dip:
    """A fall of the kNN curve by `depth` points, without a rise between steps `begin` and `end`."""

    begin: int
    end: int
    depth: float


def analyze_stability(folder: RunFolder) -> Analysis:
    """Gradient norms by layer, the spikes in them, and the dips of the kNN curve.

    A window is what lies between two log points. It is a spike of a layer where its maximum is
    above 3 times the median of the maxima of the up to 20 windows before (at least 5). A dip is a
    fall of the kNN curve, one downward step or several in a row, by at least a point. A spike is
    matched where one of its windows shares a step with a dip; `dips_percent`, the share of the
    curve's steps that are dips, is what a spike at a random place would be matched with.

    Args:
        folder: a run, finished or not, of any encoder.
    Raises:
        UserError: a run without logged gradients.
    Source: Chen et al. 2021, arXiv:2104.02057, Figs. 1 and 4 (there the gradient of every step).
    """
    name, read = folder.path.name, folder.log()
    log, unread = _whole([point for point in read.points if "loss" in point])
    unread += read.unread
    layers = layers_of(log)
    if not layers:
        raise UserError(
            f"{name} has no gradients in its log: it was not trained here, or by an earlier "
            "version; train it again with another --runs."
        )
    windows = [
        (begin["step"], point) for begin, point in zip([{"step": 0}, *log], log, strict=False)
    ]
    spikes = find_spikes(windows, layers)
    curve = folder.knn_curve()
    dips = find_dips(curve)
    matched = [s for s in spikes if any(overlaps(s, d) for d in dips)]
    hit = [d for d in dips if any(overlaps(s, d) for s in spikes)]
    steps = curve[-1][0] - curve[0][0] if len(curve) > 1 else 0
    total = knn_dips([value for _, value in curve])
    summary: Record = {
        "run": name,
        "dataset": folder.summary().get("dataset", ""),
        "windows": len(windows),
        "knn_points": len(curve),
        "spikes": len(spikes),
        "in_first_layer": sum(layers[0] in s.layers for s in spikes),
        "highest": max((s.height for s in spikes), default=math.nan),
        "dips": len(dips),
        "knn_dips": math.nan if total is None else total,
        "spikes_in_dips": len(matched),
        "dips_with_spike": len(hit),
        "dips_percent": 100 * sum(d.end - d.begin for d in dips) / steps if steps else math.nan,
    }
    notes = [
        f"{name}: steps {s.begin + 1} to {s.end}, {s.height:.1f} times the median, "
        f"{', '.join(s.layers)}{'; kNN falls' if s in matched else ''}."
        for s in sorted(spikes, key=lambda s: -s.height)[:NAMED]
    ]
    if unread:
        notes.append(f"{name}: {unread} points of the log are damaged and left out.")
    points = _points(name, windows, layers, curve, spikes, dips)
    return Analysis(name="stability", summary=[summary], points=points, notes=notes)


def _whole(log: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The points with the gradients that most of them have, and how many others there are."""
    layers = [_layers(point) for point in log]
    usual = Counter(own for own in layers if own is not None).most_common(1)
    whole = [p for p, own in zip(log, layers, strict=True) if usual and own == usual[0][0]]
    return whole, len(log) - len(whole)


def _layers(point: dict[str, Any]) -> frozenset[str] | None:
    """The layers of a point, each with mean and maximum; None where one of the two is missing."""
    mean, maximum = (frozenset(k.removeprefix(x) for k in point if k.startswith(x))
                     for x in (MEAN, MAXIMUM))  # fmt: skip
    return mean if mean == maximum else None


def find_spikes(
    windows: Sequence[tuple[int, dict[str, Any]]], layers: Sequence[str]
) -> list[Spike]:
    """The spikes of some layers, in order of the steps.

    Args:
        windows: (last step before it, its log point), in order.
    """
    groups: list[list[tuple[int, int, dict[str, float]]]] = []
    last = -1
    for place, (begin, point) in enumerate(windows):
        heights = {}
        for layer in layers:
            median = running_median([p[MAXIMUM + layer] for _, p in windows[:place]])
            if median and point[MAXIMUM + layer] > FACTOR * median:
                heights[layer] = point[MAXIMUM + layer] / median
        if heights:
            if place != last + 1 or not groups:
                groups.append([])
            groups[-1].append((begin, point["step"], heights))
            last = place
    return [_spike(group) for group in groups]


def running_median(values: Sequence[float]) -> float | None:
    """The median of the last values, at most 20; None below 5."""
    return statistics.median(values[-RUNNING:]) if len(values) >= LEAST else None


def find_dips(curve: Sequence[tuple[int, float]]) -> list[Dip]:
    """Falls of a kNN curve, (step, percent) in order, by at least a point; downward steps one after
    the other are one fall."""
    falls: list[Dip] = []
    for (a, x), (b, y) in itertools.pairwise(curve):
        if y >= x:
            continue
        if falls and falls[-1].end == a:
            falls[-1] = Dip(falls[-1].begin, b, falls[-1].depth + x - y)
        else:
            falls.append(Dip(a, b, x - y))
    return [fall for fall in falls if fall.depth >= DIP]


def overlaps(spike: Spike, dip: Dip) -> bool:
    """Whether they have a step in common."""
    return spike.begin < dip.end and dip.begin < spike.end


def _spike(group: Sequence[tuple[int, int, dict[str, float]]]) -> Spike:
    layers: dict[str, None] = {}
    for _, _, heights in group:
        layers |= dict.fromkeys(sorted(heights, key=lambda layer: -heights[layer]))
    highest = max(height for _, _, heights in group for height in heights.values())
    return Spike(group[0][0], group[-1][1], tuple(layers), highest)


def _points(
    name: str,
    windows: Sequence[tuple[int, dict[str, Any]]],
    layers: Sequence[str],
    curve: Sequence[tuple[int, float]],
    spikes: Sequence[Spike],
    dips: Sequence[Dip],
) -> list[Record]:
    """Long records: gradients (mean and maximum of each window), the curve, spikes and dips."""

    def record(kind: str, layer: str, begin: int, end: int, value: float) -> Record:
        return {"run": name, "kind": kind, "layer": layer, "begin": begin, "step": end,
                "value": value}  # fmt: skip

    found = [
        record(kind, layer, begin, point["step"], point[key + layer])
        for layer in layers
        for begin, point in windows
        for kind, key in (("mean", MEAN), ("maximum", MAXIMUM))
    ]
    found += [record("knn", "", step, step, value) for step, value in curve]
    found += [record("spike", s.layers[0], s.begin, s.end, s.height) for s in spikes]
    found += [record("dip", "", d.begin, d.end, d.depth) for d in dips]
    return found
