"""What needs no labels is measured without them, and equals what is measured with them."""

from __future__ import annotations

import dataclasses
import math

import pytest

from sslbench.errors import UserError
from sslbench.evaluation.analyses import (
    analyze_hypersphere,
    analyze_neighbours,
    analyze_prototypes,
    analyze_similarity,
    analyze_spectrum,
    merge,
)
from sslbench.reports.analyses import write_analysis

BY_CLASS = {
    "tolerance", "nearest_same_class_percent", "same_class_percent", "class_resultant",
}  # fmt: skip
ANALYSES = {
    "similarity": lambda s: analyze_similarity(s, space="projection"),
    "hypersphere": analyze_hypersphere,
    "neighbours": analyze_neighbours,
    "spectrum": lambda s: analyze_spectrum(s, space="projection"),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_numbers_that_need_no_labels_are_the_same_and_the_others_are_nan(name, subject, unlabelled):
    analyze = ANALYSES[name]
    (with_labels,), bare = analyze(subject).summary, analyze(unlabelled)
    (without,) = bare.summary
    assert list(with_labels) == list(without)
    for key, value in with_labels.items():
        if key in BY_CLASS:
            assert math.isnan(without[key]) and not math.isnan(value)
        else:
            assert without[key] == value
    assert any("has no labels" in note for note in bare.notes) == bool(BY_CLASS & set(without))


@pytest.mark.parametrize("name", ANALYSES)
def test_runs_with_and_without_labels_share_a_figure(name, subject, unlabelled, tmp_path):
    analyze = ANALYSES[name]
    for number, parts in enumerate(([unlabelled], [subject, unlabelled])):
        files = write_analysis(merge([analyze(part) for part in parts]), tmp_path / str(number))
        assert all(path.stat().st_size > 100 for path in files)


def test_neighbours_without_labels_are_those_with_them(subject, unlabelled):
    a, b = (analyze_neighbours(s, index=[3, 1]) for s in (subject, unlabelled))
    assert [p["picture"] for p in a.points] == [p["picture"] for p in b.points]
    assert {p["same_class"] for p in b.points} == {None}
    assert {p["class"] for p in b.points} == {""}


def test_a_small_set_is_shown_whole(subject):
    few = subject.dataset.test[slice(0, 3)]
    small = _with(subject, test=few)
    assert len({p["query"] for p in analyze_neighbours(small).points}) == 3
    with pytest.raises(UserError, match="needs 1 to 3"):
        analyze_neighbours(small, queries=4)


@pytest.mark.parametrize("name", ["hypersphere", "spectrum", "similarity"])
def test_one_image_is_too_few_for_a_distribution(name, subject):
    alone = _with(subject, test=subject.dataset.test[slice(0, 1)])
    with pytest.raises(UserError, match="has 1 test image, and this needs"):
        ANALYSES[name](alone)


def test_a_run_without_prototypes_is_told_so_and_not_asked_for_a_temperature(unlabelled):
    recipe = unlabelled.recipe.but(objective="NegativeCosine")
    with pytest.raises(UserError, match="trained without prototypes"):
        analyze_prototypes(_with(unlabelled, recipe=recipe))


def _with(subject, *, test=None, recipe=None):
    """The subject with other test images or another recipe, and features of its own."""
    dataset = subject.dataset
    if test is not None:
        dataset = dataclasses.replace(dataset, test=test, fingerprint=f"{len(test):064}")
    return dataclasses.replace(subject, dataset=dataset, recipe=recipe or subject.recipe)
