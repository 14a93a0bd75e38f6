from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from sslbench.evaluation.analyses import analyze_hypersphere
from sslbench.evaluation.analyses.hypersphere import circular_density, class_resultant, on_circle
from sslbench.evaluation.evaluate import evaluate


def test_two_dimensions_are_taken_as_they_are():
    expected = torch.tensor([0.3, -2.0, 3.0], dtype=torch.float64)
    z = torch.stack([expected.cos(), expected.sin()], dim=1)
    angles, share = on_circle(z)
    assert torch.allclose(angles, expected)
    assert share == 1


def test_more_dimensions_are_taken_by_their_first_two_principal_components(sphere):
    """Equal, up to signs, to the projections on the right singular vectors."""
    z = sphere(40, 6) * torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2, 0.1])
    angles, share = on_circle(z)
    centred = z - z.mean(dim=0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    plane = centred @ vectors[:2].T
    assert torch.allclose(angles.cos().abs(), (plane[:, 0] / plane.norm(dim=1)).abs())
    assert torch.allclose(angles.sin().abs(), (plane[:, 1] / plane.norm(dim=1)).abs())
    assert share == pytest.approx(float(values[:2].square().sum() / values.square().sum()))


def test_constant_features_do_not_fail():
    angles, share = on_circle(torch.ones(5, 4))
    assert torch.isfinite(angles).all()
    assert share == 1


def test_density_is_the_mean_of_von_mises_kernels():
    from scipy.stats import vonmises

    angles = torch.tensor([0.1, 2.0, -3.0], dtype=torch.float64)
    grid = torch.linspace(-math.pi, math.pi, 101, dtype=torch.float64)
    density = circular_density(angles, grid, concentration=20.0)
    for x, y in zip(grid.tolist(), density.tolist(), strict=True):
        expected = sum(vonmises.pdf(x, 20.0, loc=a) for a in angles.tolist()) / 3
        assert y == pytest.approx(expected, rel=1e-9)
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, rel=1e-6)


def test_resultant_is_one_for_points_and_zero_for_opposites():
    labels = torch.tensor([0, 0, 1, 1])
    assert class_resultant(torch.tensor([1.0, 1.0, 2.0, 2.0]), labels) == pytest.approx(1)
    opposite = torch.tensor([0.0, math.pi, 1.0, 1.0 + math.pi])
    assert class_resultant(opposite, labels) == pytest.approx(0, abs=1e-6)


def test_alignment_and_uniformity_are_those_of_the_protocol(subject, trained):
    (summary,) = analyze_hypersphere(subject).summary
    score = evaluate(trained, ["geometry"], root=trained.path.parent)["geometry.v1"]
    assert summary["space"] == "representation"
    assert summary["alignment"] == pytest.approx(score.values["alignment"], rel=1e-5)
    assert summary["uniformity"] == pytest.approx(score.values["uniformity"], rel=1e-5)


def test_points_hold_a_density_for_all_images_and_each_class(subject):
    points = analyze_hypersphere(subject, space="projection").points
    groups = [p["group"] for p in points if p["kind"] == "angle"]
    present = {subject.dataset.classes[i] for i in subject.test_labels.tolist()}
    assert set(groups) == {"", *present}
    assert groups[0] == ""
    assert sum(p["kind"] == "image" for p in points) == 32
    distances = [p for p in points if p["kind"] == "distance"]
    assert sum(p["density"] for p in distances) * 2 / len(distances) == pytest.approx(1)


def test_a_projector_with_two_outputs_is_shown_by_default(subject):
    recipe = subject.recipe.but({"projector.out": 2})
    planar = dataclasses.replace(subject, recipe=recipe)
    planar.__dict__["projector"] = torch.nn.Linear(subject.features.test.shape[1], 2)
    (summary,) = analyze_hypersphere(planar).summary
    assert (summary["space"], summary["plane"]) == ("projection", "features")
    assert summary["plane_percent"] == 100
