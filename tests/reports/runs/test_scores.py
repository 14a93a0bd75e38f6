from __future__ import annotations

import dataclasses

import pytest

from sslbench.reports.display import grid
from sslbench.reports.runs.collect import RunGroup, collect, run_paths
from sslbench.reports.runs.scores import score_rows, shared_images
from sslbench.reports.runs.view import describe, view


@pytest.fixture
def report(kept):
    return view(collect(run_paths(str(kept), kept)[0]))


def test_seeds_are_a_mean_with_an_interval_and_one_seed_has_none(report):
    (table,) = report.scores
    cells = {row.label: row.cells for row in table.rows}
    (two,) = [c for label, c in cells.items() if "shapes" in label or label == "simclr"]
    (one,) = [c for label, c in cells.items() if "temperature=0.5" in label]
    key = next(iter(one))
    assert len(two[key].values) == 2 and two[key].interval is not None
    assert one[key].n == 1 and one[key].interval is None
    values = two[key].values
    assert two[key].mean == pytest.approx(sum(values) / 2)


def test_baselines_stand_below_and_raw_pixels_are_exact(report):
    (table,) = report.scores
    assert sorted(row.label for row in table.baselines) == ["raw-pixels", "untrained"]
    texts = {line.label: line.entries[0].text for line in grid(table).lines}
    assert "(exact)" in texts["raw-pixels"]
    assert [line.baseline for line in grid(table).lines][-2:] == [True, True]


def test_accuracies_come_before_geometry(report):
    (table,) = report.scores
    assert table.columns[0].name == "knn.v1 top1"
    assert table.columns[-1].metric.startswith("geometry.v1:")


def test_the_line_below_names_chance_protocols_and_data(report):
    line = describe(report.scores[0])
    assert "32 test images" in line and "chance 10 %" in line and "knn.v1 (" in line


def test_what_was_chosen_on_the_held_out_part_is_with_each_seed(report):
    (group,) = [g for g in report.groups if len(g.group.runs) == 2 and g.scores]
    rows = [row for row in score_rows(group.group) if row[2].startswith("knn.v1")]
    assert [row[0] for row in rows] == ["0", "1"]
    assert all("k " in row[4] and "temperature " in row[4] and "top1" in row[5] for row in rows)


def test_test_images_that_were_trained_on_are_said(report):
    group = next(g.group for g in report.groups if g.scores)
    run = group.first
    scores = {k: dataclasses.replace(s, shared=7) for k, s in run.scores.items()}
    (sentence,) = shared_images(RunGroup((dataclasses.replace(run, scores=scores),)))
    assert sentence.startswith("7 of 32 test images of shapes are also training images")


def test_scores_under_two_definitions_are_two_columns(kept):
    (path,) = kept.glob("simclr-s1-*")
    collection = collect([path])
    run = collection.groups[0].first
    other = {
        (label, name): dataclasses.replace(score, definition="0123456789ab")
        for (label, name), score in run.scores.items()
    }
    twin = dataclasses.replace(run, scores=other)
    from sslbench.reports.runs.scores import score_tables

    (table,) = score_tables([RunGroup((run,)), RunGroup((twin,))], ["a", "b"], [])
    first = [c for c in table.columns if c.metric == "knn.v1:top1"]
    assert len(first) == 2 and any("01234567" in c.name for c in first)
    assert all(sum(c.key in row.cells for c in first) == 1 for row in table.rows)
