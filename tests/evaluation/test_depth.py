"""Depth by a linear probe: what it can tell, its measures, what is not known, what is refused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation import depth as depth_module
from sslbench.evaluation.depth import DepthSweep, Errors
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.per_image import DepthErrors
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import Scenes
from tests.evaluation.conftest import finished
from tests.evaluation.dense import Stages, blocks, dataset_of, grey, subject_of
from tests.evaluation.test_per_image import assert_kept

PROTOCOL = dataclasses.replace(
    PROTOCOLS["depth.v1"], least_steps=400, epochs=1, batch_size=20, pixels=32,
    learning_rates=(0.03, 0.3, 3.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def steps():
    """Whole 4×4 cells of 0 to 3, of training and test images."""
    generator = torch.Generator().manual_seed(0)
    return blocks(generator, 60, 4), blocks(generator, 20, 4)


def split_of(values, scale=1.0):
    """Grey images; their depth is 1 to 4 scales."""
    return Split(grey(values * 60), depth=(values + 1.0) * scale)


def told(images):
    """N×4×16×16: which of the four greys each pixel has."""
    return F.one_hot((images[:, 0] * 255 / 60).round().long(), 4).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_an_encoder_whose_map_tells_depth_is_far_better_than_the_median(scale, steps, tmp_path):
    halves = [split_of(values, scale) for values in steps]
    found = depth_module.run(PROTOCOL, subject_of(tmp_path, dataset_of(*halves, 1), Stages(told)))
    values = found.values
    assert values["abs_rel"] < 0.05 < 0.3 < values["median_abs_rel"]
    assert values["delta1"] > 99 > values["median_delta1"]
    assert values["rmse"] == pytest.approx(math.sqrt(values["mse"]))
    median = float(steps[0].float().add(1).mul(scale).median())
    expected = (steps[1].double() + 1) * scale
    assert values["median_mse"] == pytest.approx(float((expected - median).square().mean()))
    assert found.kept["depth"].dtype == np.float16 and found.kept["depth"].shape == (20, 16, 16)
    assert found.kept["abs_rel"].mean() == pytest.approx(values["abs_rel"], rel=1e-4)


def test_what_is_not_known_is_neither_learned_nor_counted(steps, tmp_path):
    train, test = (split_of(values) for values in steps)
    generator = torch.Generator().manual_seed(1)
    for split in (train, test):
        split.depth[torch.rand(split.depth.shape, generator=generator) < 0.5] = math.nan
    test.depth[3] = math.nan
    found = depth_module.run(
        PROTOCOL, subject_of(tmp_path, dataset_of(train, test, 1), Stages(told))
    )
    assert found.values["abs_rel"] < 0.05
    assert np.flatnonzero(np.isnan(found.kept["abs_rel"])).tolist() == [3]
    assert np.isfinite(found.kept["depth"]).all()
    depth = torch.from_numpy(found.kept["depth"]).double()
    known = ~test.depth.isnan()
    expected = ((depth - test.depth).abs() / test.depth)[known].mean()
    assert found.values["abs_rel"] == pytest.approx(float(expected), abs=2e-3)


def test_the_measures_by_hand():
    found = Errors()
    found.add(torch.tensor([2.0, 1.0, 9.0]), torch.tensor([1.0, 1.2, math.nan]))
    found.add(torch.tensor([[4.0]]), torch.tensor([[5.0]]))
    values = found.values()
    assert values["abs_rel"] == pytest.approx((1 + 0.2 / 1.2 + 0.2) / 3)
    assert values["mse"] == pytest.approx((1 + 0.04 + 1) / 3)
    assert values["rmse"] == pytest.approx(math.sqrt(2.04 / 3))
    assert values["delta1"] == pytest.approx(100 / 3)  # 1.2 alone: 5 / 4 is not below 1.25


def test_a_step_is_that_of_torch_on_each_rate():
    generator = torch.Generator().manual_seed(2)
    x, targets = torch.randn(30, 5, generator=generator), torch.rand(30, generator=generator) + 1
    sweep = DepthSweep([0.1, 1.0], num_features=5, momentum=0.9, scale=1.5,
                       device=torch.device("cpu"))  # fmt: skip
    assert torch.allclose(F.softplus(sweep.before(x)) * 1.5, torch.full((30, 2), 1.5))
    for index, rate in enumerate((0.1, 1.0)):
        weight = torch.zeros(5, requires_grad=True)
        bias = torch.tensor(math.log(math.e - 1), requires_grad=True)
        optimizer = torch.optim.SGD([weight, bias], lr=rate, momentum=0.9)
        one = DepthSweep([rate], num_features=5, momentum=0.9, scale=1.5,
                         device=torch.device("cpu"))  # fmt: skip
        for _ in range(5):
            F.l1_loss(F.softplus(x @ weight + bias), targets / 1.5).backward()
            optimizer.step()
            optimizer.zero_grad()
            one.step(x, targets, factor=1.0)
            if index == 0:
                sweep.step(x, targets, factor=1.0)
        expected = (x @ weight + bias).detach()
        assert torch.allclose(one.before(x)[:, 0], expected, atol=1e-5)
        assert torch.allclose(sweep.before(x)[:, index], expected, atol=1e-5)


def test_the_map_before_the_last_one_is_another(steps, tmp_path):
    halves = [split_of(values) for values in steps]
    blind = Stages(told, lambda x: torch.zeros_like(told(x)))
    subject = subject_of(tmp_path, dataset_of(*halves, 1), blind)
    last = depth_module.run(PROTOCOL, subject).values
    before = depth_module.run(dataclasses.replace(PROTOCOL, level="previous"), subject).values
    assert (
        before["abs_rel"] < 0.05 < last["abs_rel"] == pytest.approx(last["median_abs_rel"], rel=0.1)
    )


@pytest.mark.parametrize("name", ["depth.v1", "depth.previous.v1"])
@pytest.mark.parametrize("recipe", ["untrained", "untrained-vit"])
def test_it_scores_a_run_on_scenes(recipe, name, tmp_path: Path):
    quick = dataclasses.replace(PROTOCOLS[name], name="quick.v1", least_steps=10)
    run = finished(recipe, tmp_path)
    data = Scenes(resolution=16, num_train=40, num_test=10)
    (found,) = evaluate(run, [quick], data=data, root=tmp_path).values()
    assert set(found.values) == {value.key for value in PROTOCOLS[name].values}
    (again,) = evaluate(run, [quick], data=data, root=tmp_path, force=True).values()
    assert again.values == found.values
    assert_kept(run, found, quick, DepthErrors)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d * math.nan, "the depth of no pixel of the {} images is known"),
        (lambda d: d - 1, "the {} images have a depth of 0; a depth is finite and above 0"),
        (lambda d: d / 0, "the {} images have a depth of inf"),
    ],
)
@pytest.mark.parametrize("half", [0, 1])
def test_depth_that_makes_no_sense_is_refused(half, change, sentence, steps, tmp_path):
    halves = [split_of(values) for values in steps]
    halves[half] = dataclasses.replace(halves[half], depth=change(halves[half].depth))
    what = ("training", "test")[half]
    with pytest.raises(UserError, match=sentence.format(what)):
        depth_module.check(PROTOCOL, subject_of(tmp_path, dataset_of(*halves, 1)))


def test_one_depth_alone_and_one_map_alone_are_refused(steps, tmp_path):
    halves = [split_of(values) for values in steps]
    flat = dataclasses.replace(halves[0], depth=torch.ones_like(halves[0].depth))
    with pytest.raises(UserError, match="all pixels of the training images have the depth 1,"):
        depth_module.check(PROTOCOL, subject_of(tmp_path, dataset_of(flat, halves[1], 1)))
    previous = PROTOCOLS["depth.previous.v1"]
    with pytest.raises(UserError, match=r"RawPixelEncoder has one map alone; use depth.v1"):
        depth_module.check(previous, subject_of(tmp_path / "b", dataset_of(*halves, 1)))
    with pytest.raises(UserError, match=r"pixels are one map alone; use depth\.v1"):
        evaluate(finished("raw-pixels", tmp_path), [previous], root=tmp_path,
                 data=Scenes(resolution=16, num_train=40, num_test=10))  # fmt: skip
