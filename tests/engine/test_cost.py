from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench import distributed
from sslbench.data import load
from sslbench.engine import cost as module
from sslbench.engine.checkpoint import load_checkpoint, save_checkpoint
from sslbench.engine.cost import StepTimes, forward_gflops
from sslbench.engine.place import run_folder
from sslbench.engine.trainer import Trainer
from sslbench.errors import Interrupted
from sslbench.methods import METHODS, Method, Supervised
from sslbench.recipes import RECIPES
from sslbench.recipes.families import SupervisedRecipe
from sslbench.recipes.recipe import Experiment
from tests.engine.test_pretrain import stop_after, train
from tests.reference.processes import run_processes
from tests.tiny import DATA, TRAINED, tiny

FLOPS = 1e-9
WIDTH, DEPTH, PATCHES, PIXELS = 16, 2, 4, 3 * 8 * 8  # of a tiny ViT at 16 pixels


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


def method_of(experiment: Experiment, dataset: Any) -> Method:
    return Trainer(experiment, dataset, device=torch.device("cpu")).method


def counted(experiment: Experiment, dataset: Any) -> float:
    found = forward_gflops(method_of(experiment, dataset), experiment.recipe, resolution=16)
    assert found is not None
    return found


def blocks(tokens: int, *, width: int = WIDTH, depth: int = DEPTH) -> int:
    """Of Transformer blocks: 12 d² of weights for each token, and two products of n×n by d."""
    return 2 * (12 * width**2 * tokens + 2 * tokens**2 * width) * depth


def linear(rows: int, given: int, out: int) -> int:
    return 2 * rows * given * out


def test_a_vit_costs_what_its_shape_says(dataset) -> None:
    expected = linear(PATCHES, PIXELS, WIDTH) + blocks(1 + PATCHES)
    expected += linear(1, WIDTH, len(dataset.classes))
    assert counted(tiny("supervised-vit"), dataset) == pytest.approx(expected * FLOPS, rel=1e-12)


@pytest.mark.parametrize("in_encoder", [False, True])
def test_mae_costs_the_tokens_in_its_encoder_and_all_in_its_decoder(in_encoder, dataset) -> None:
    experiment = tiny(
        "mae", decoder={"width": 8, "depth": 3, "heads": 2}, mask__ratio=0.75,
        mask__in_encoder=in_encoder, encoder__patch=8,
    )  # fmt: skip
    tokens = 1 + (PATCHES if in_encoder else 1)
    expected = linear(PATCHES, PIXELS, WIDTH)  # of all patches, of which one is visible
    expected += blocks(tokens) + linear(tokens, WIDTH, 8)
    expected += blocks(1 + PATCHES, width=8, depth=3) + linear(PATCHES, 8, PIXELS)
    assert counted(experiment, dataset) == pytest.approx(expected * FLOPS, rel=1e-9)


def test_mask_tokens_in_the_encoder_of_vit_l_cost_three_times_as_much() -> None:
    """3.3x in He et al. 2021 (MAE), Table 1 (c), which does not say what it counts: 3.2 here."""
    recipe = RECIPES["mae"].but({"encoder.arch": "large", "batch_size": 2})
    counts = []
    for in_encoder in (False, True):
        own = recipe.but({"mask.in_encoder": in_encoder})
        with torch.device("meta"):
            method = METHODS[type(own)](own, resolution=224, num_images=2, num_classes=1, seed=0)
        counts.append(forward_gflops(method, own, resolution=224))
    visible, all_tokens = counts
    tokens, decoder = 14**2, blocks(1 + 14**2, width=512, depth=8) + linear(196, 512, 768)
    expected = linear(tokens, 768, 1024) + blocks(1 + 49, width=1024, depth=24)
    expected += linear(1 + 49, 1024, 512) + decoder
    assert visible == pytest.approx(expected * FLOPS, rel=1e-9)
    assert all_tokens / visible == pytest.approx(3.23, abs=0.01)


def test_every_view_and_the_target_network_count(dataset) -> None:
    one = counted(tiny("supervised"), dataset) - FLOPS * linear(1, 8, len(dataset.classes))
    heads = 4 * (linear(1, 8, 16) + linear(1, 16, 8)) + 2 * (linear(1, 8, 8) + linear(1, 8, 8))
    assert counted(tiny("byol"), dataset) == pytest.approx(4 * one + heads * FLOPS, rel=1e-9)


def test_small_crops_cost_their_own_size(dataset) -> None:
    two, four = (counted(tiny("dino", views__num_local=n), dataset) for n in (2, 4))
    more = blocks(1 + 1) + linear(1, PIXELS, WIDTH)  # a crop of 8 pixels is one patch
    head = four - two - 2 * more * FLOPS
    assert 0 < head < 2 * more * FLOPS


def test_comparisons_within_the_batch_count_for_each_image(dataset) -> None:
    few, many = (counted(tiny("simclr", batch_size=n), dataset) for n in (16, 48))
    # Each of two views meets all 2 N views, 8 wide.
    assert many - few == pytest.approx(2 * linear(1, 8, 2 * (48 - 16)) * FLOPS)


@pytest.mark.parametrize("recipe", TRAINED)
def test_every_recipe_has_a_count_and_stays_as_it_is(recipe: str, dataset) -> None:
    experiment = tiny(recipe)
    method = method_of(experiment, dataset)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    generator, autocast = torch.get_rng_state(), torch.autocast
    assert forward_gflops(method, experiment.recipe, resolution=16) > 0
    assert torch.equal(generator, torch.get_rng_state()) and torch.autocast is autocast
    for name, value in method.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(before[name], value), name


class Looking(Supervised):
    """A method that looks at values."""

    def forward(self, batch):
        output = super().forward(batch)
        assert output.loss.item() >= 0
        return output


def test_of_a_method_that_looks_at_values_there_is_no_count(
    dataset, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(METHODS, SupervisedRecipe, Looking)
    folder = train(tiny("supervised"), tmp_path)
    assert set(folder.summary()["cost"]) == {"step_ms"}


def of_this_process(recipes: list[str]) -> list[float | None]:
    """The counts, where one of two processes makes them and the other goes on."""
    dataset = load(DATA, root=Path("unused"))
    methods = [method_of(tiny(recipe), dataset) for recipe in recipes]
    if distributed.rank() == 1:
        return []
    return [
        forward_gflops(method, tiny(recipe).recipe, resolution=16)
        for recipe, method in zip(recipes, methods, strict=True)
    ]


def test_one_of_two_processes_counts_the_whole_batch_alone(dataset, tmp_path: Path) -> None:
    recipes = ["simclr", "moco-v2"]
    found, _ = run_processes(of_this_process, recipes, folder=tmp_path)
    assert found == [counted(tiny(recipe), dataset) for recipe in recipes]


def test_alone_is_over_at_its_end() -> None:
    with distributed.alone(), distributed.alone():
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert not distributed._alone


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, which stand still between the test's own steps."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_step_times_are_the_median_of_windows_less_the_first(clock: list[float]) -> None:
    times = StepTimes()
    step = 0
    for steps, seconds in ((2, 50.0), (4, 0.4), (2, 0.6), (5, 1.0)):
        times.begin(step)
        step, clock[0] = step + steps, clock[0] + seconds
        times.end(step)
        clock[0] += 1000  # a checkpoint
    assert times.milliseconds == pytest.approx([100, 300, 200])
    assert times.median() == pytest.approx(200)


def test_a_window_that_is_begun_anew_leaves_out_what_was_before(clock: list[float]) -> None:
    times = StepTimes(_warm=True)
    times.begin(0)
    clock[0] = 70.0  # the monitor, after three steps
    times.begin(3)
    clock[0] = 71.0
    times.end(5)
    times.end(9)  # nothing was begun
    times.begin(9)
    times.end(9)  # and here no step was taken
    assert times.milliseconds == pytest.approx([500])


def test_a_finished_run_says_what_it_cost(dataset, tmp_path: Path) -> None:
    folder = train(tiny("simclr"), tmp_path)
    found = folder.summary()["cost"]
    assert found["gflops"] == counted(tiny("simclr"), dataset)
    assert 0 < found["step_ms"] < 1000 * folder.summary()["elapsed_seconds"]


def test_one_that_trains_nothing_costs_nothing_that_is_known(tmp_path: Path) -> None:
    assert train(tiny("untrained"), tmp_path).summary()["cost"] == {}
    assert train(tiny("simclr", epochs=0), tmp_path).summary()["cost"] == {}


def test_one_step_has_no_time_of_its_own(tmp_path: Path) -> None:
    folder = train(tiny("simclr", epochs=1, batch_size=96), tmp_path)
    assert folder.summary()["steps"] == 1
    assert set(folder.summary()["cost"]) == {"gflops"}


def test_a_resumed_run_has_the_times_of_all_its_steps(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tiny("simclr"), tmp_path, progress=stop_after(7))
    folder = run_folder(tiny("simclr"), runs=tmp_path, root=tmp_path)
    assert "cost" not in folder.summary()
    state = load_checkpoint(folder.checkpoint_path)
    assert len(state["step_ms"]) == 6  # windows of one step, less the first
    save_checkpoint(folder.checkpoint_path, {**state, "step_ms": [1e6] * 60})
    train(tiny("simclr"), tmp_path)
    assert folder.summary()["cost"]["step_ms"] == 1e6


def test_a_checkpoint_of_before_there_were_step_times_resumes(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tiny("simclr"), tmp_path, progress=stop_after(7))
    folder = run_folder(tiny("simclr"), runs=tmp_path, root=tmp_path)
    state = load_checkpoint(folder.checkpoint_path)
    del state["step_ms"]
    save_checkpoint(folder.checkpoint_path, state)
    assert train(tiny("simclr"), tmp_path).summary()["cost"]["step_ms"] < 1e6
