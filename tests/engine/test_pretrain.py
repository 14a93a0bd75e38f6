"""What holds for every recipe: it trains, repeats, resumes bit for bit, and fails in a sentence."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sslbench.data import load
from sslbench.engine import pretrain as module
from sslbench.engine.checkpoint import load_weights, save_checkpoint
from sslbench.engine.place import run_folder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.engine.trainer import Trainer
from sslbench.errors import Interrupted, RunFailed, UserError
from tests.killed import kill_at, killed
from tests.tiny import DATA, TRAINED, tiny

FP32 = Options(device="cpu", precision="fp32", compile="off", threads=1, checkpoint_seconds=0)


def train(experiment, path: Path, **more):
    return pretrain(experiment, provenance={}, runs=path, root=path, options=FP32, **more)


def encoder_of(folder):
    return load_weights(folder.encoder_path)


def assert_same_encoder(a, b):
    first, second = encoder_of(a), encoder_of(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def stop_after(steps: int):
    """A progress callback that sends this process SIGTERM at a log point."""

    def progress(step, total, stats):
        if step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


@pytest.mark.parametrize("recipe", TRAINED)
def test_every_recipe_trains_and_its_encoder_moves(recipe, dataset):
    trainer = Trainer(tiny(recipe), dataset, device=torch.device("cpu"))
    before = [p.detach().clone() for p in trainer.method.encoder.parameters()]
    trainer.step_count = 1  # past the first step of a warm-up
    output = trainer.step()
    assert torch.isfinite(output.loss)
    for old, parameter in zip(before, trainer.method.encoder.parameters(), strict=True):
        assert torch.equal(old, parameter) != parameter.requires_grad


@pytest.mark.parametrize("recipe", ["dino", "moco-v3-vit"])
def test_a_vit_trains_in_bf16_as_in_float32(recipe, dataset):
    exact, rounded = (
        Trainer(tiny(recipe), dataset, device=torch.device("cpu"), precision=precision)
        for precision in (None, torch.bfloat16)
    )
    fused = torch.backends.cuda.flash_sdp_enabled()
    for _ in range(2):
        assert rounded.step().loss.item() == pytest.approx(exact.step().loss.item(), rel=0.1)
    assert torch.backends.cuda.flash_sdp_enabled() == fused


@pytest.mark.parametrize("recipe", TRAINED)
def test_a_stopped_and_resumed_run_is_the_uninterrupted_run(recipe, tmp_path):
    whole = train(tiny(recipe), tmp_path / "a")
    with pytest.raises(Interrupted, match="Run the same command again"):
        train(tiny(recipe), tmp_path / "b", progress=stop_after(7))
    resumed = train(tiny(recipe), tmp_path / "b")
    assert_same_encoder(whole, resumed)
    assert whole.metrics() == resumed.metrics()
    assert whole.summary()["final"] == resumed.summary()["final"]


@pytest.mark.parametrize("recipe", ["moco-v2", "byol", "simclr"])
def test_a_run_killed_at_any_moment_resumes_bit_for_bit(recipe, tmp_path):
    whole = train(tiny(recipe), tmp_path / "a")
    assert killed(lambda: train(tiny(recipe), tmp_path / "b", progress=kill_at(9)))
    assert_same_encoder(whole, train(tiny(recipe), tmp_path / "b"))


def test_the_same_seed_repeats_and_another_differs(tmp_path):
    a, b = train(tiny("simclr"), tmp_path / "a"), train(tiny("simclr"), tmp_path / "b")
    other = train(tiny("simclr", seed=1), tmp_path / "b")
    assert a.metrics() == b.metrics()
    assert a.metrics() != other.metrics()


def test_a_finished_run_is_returned_without_training(tmp_path, monkeypatch):
    first = train(tiny("simclr"), tmp_path)
    monkeypatch.setattr(module, "Trainer", None)
    assert train(tiny("simclr"), tmp_path).path == first.path


def test_equal_experiments_share_a_folder_and_others_do_not(tmp_path):
    def path(experiment):
        return run_folder(experiment, runs=tmp_path, root=tmp_path).path

    assert path(tiny("byol")) == path(tiny("byol", epochs=2))
    assert path(tiny("byol")) != path(tiny("byol", epochs=3))
    assert path(tiny("byol")) != path(tiny("byol", seed=1))


def test_the_untrained_encoder_is_the_seeded_initialisation(tmp_path, dataset):
    folder = train(tiny("untrained"), tmp_path)
    trainer = Trainer(tiny("supervised"), dataset, device=torch.device("cpu"))
    for name, value in trainer.method.encoder.state_dict().items():
        assert torch.equal(value, encoder_of(folder)[name])


def test_the_log_has_what_the_plots_need(tmp_path):
    folder = train(tiny("simsiam"), tmp_path, monitor=lambda encoder: 12.5)
    points = folder.metrics()
    assert [p["step"] for p in points] == list(range(1, 13))
    assert all({"loss", "std", "effective_rank", "lr"} <= p.keys() for p in points)
    assert [p["knn"] for p in points if "knn" in p] == [12.5, 12.5]


def test_more_monitor_points_lie_inside_epochs_and_change_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOG_POINTS", 4)

    def curve(path, points):
        options = dataclasses.replace(FP32, monitor_points=points)
        folder = pretrain(
            tiny("simsiam", epochs=4), provenance={}, runs=path, root=path, options=options,
            monitor=lambda encoder: 12.5,
        )  # fmt: skip
        return folder, [step for step, _ in folder.knn_curve()]

    usual, by_epoch = curve(tmp_path / "a", None)
    dense, by_step = curve(tmp_path / "b", 16)
    assert by_epoch == [6 * epoch for epoch in range(1, 5)]
    assert by_step == [math.ceil(1.5 * i) for i in range(1, 17)]
    assert_same_encoder(usual, dense)
    assert usual.summary()["final"] == dense.summary()["final"]
    extra = [p for p in dense.metrics() if "loss" not in p]
    assert len(extra) == 12
    assert all(p.keys() == {"step", "epoch", "knn"} for p in extra)
    assert [p["loss"] for p in dense.metrics() if "loss" in p] == [
        p["loss"] for p in usual.metrics()
    ]


def test_more_monitor_points_than_steps_are_one_a_step(tmp_path):
    options = dataclasses.replace(FP32, monitor_points=100)
    folder = pretrain(
        tiny("simsiam"), provenance={}, runs=tmp_path, root=tmp_path, options=options,
        monitor=lambda encoder: 12.5,
    )  # fmt: skip
    assert [step for step, _ in folder.knn_curve()] == list(range(1, 13))
    with pytest.raises(UserError, match="at least 1"):
        Options(monitor_points=0)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_checkpoints_are_a_finite_time_apart(seconds):
    with pytest.raises(UserError, match=r"checkpoint_seconds .*: needs a finite number from 0"):
        Options(checkpoint_seconds=seconds)


def test_the_summary_says_where_the_number_comes_from(tmp_path):
    summary = train(tiny("byol"), tmp_path).summary()
    assert summary["status"] == "finished"
    assert summary["verdict"]["state"] in ("healthy", "collapsed", "dimensional")
    for key in ("digest", "fingerprint", "seed", "numerics", "device_class", "torch", "commit"):
        assert key in summary
    assert summary["final"]["out_dim"] == 8


def test_a_supervised_run_is_judged_by_the_width_of_its_features_not_of_its_classifier(tmp_path):
    final = train(tiny("supervised", encoder__width=8), tmp_path).summary()["final"]
    assert final["out_dim"] == 16  # of 10 classes


def test_a_loss_that_is_not_finite_fails_the_run_and_says_so(tmp_path):
    with pytest.raises(RunFailed, match="not finite"):
        train(tiny("simclr", optimizer={"kind": "SGD", "lr": 1e30}), tmp_path)
    (folder,) = [p for p in tmp_path.iterdir() if p.is_dir()]
    summary = json.loads((folder / "run.json").read_text())
    assert summary["status"] == "failed"
    assert summary["verdict"]["state"] == "diverged"


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="larger than the 96 images of shapes; set batch_size to 96"
    ):
        train(tiny("simclr", batch_size=128), tmp_path)
    with pytest.raises(
        UserError, match="larger than the 96 images of shapes; set batch_size to 32"
    ):
        train(tiny("simclr", batch_size=64, accumulate=3), tmp_path)


def test_a_single_image_is_no_batch(tmp_path):
    single = tiny("simclr").but({"data.num_train": 1})
    with pytest.raises(UserError, match="larger than the 1 image of shapes; use more images"):
        train(single, tmp_path)


def test_a_folder_in_use_is_refused(tmp_path):
    folder = run_folder(tiny("simclr"), runs=tmp_path, root=tmp_path)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom sslbench.engine.folder import RunFolder\n"
        f"with RunFolder(Path({str(folder.path)!r})).lock():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(UserError, match=f"in use by process {other.pid}; wait"):
            train(tiny("simclr"), tmp_path)
    finally:
        other.kill()
        other.communicate()


def test_accumulated_batches_make_one_update(dataset):
    trainer = Trainer(tiny("byol", accumulate=3), dataset, device=torch.device("cpu"))
    assert trainer.steps_per_epoch == 2


@pytest.mark.parametrize(
    "broken", [{}, {"trainer": {}}, {"trainer": 3}, {"trainer": {"method": {"a": 1}}}]
)
def test_a_whole_checkpoint_that_lacks_the_state_is_named(broken, tmp_path):
    experiment = tiny("simclr")
    folder = run_folder(experiment, runs=tmp_path, root=tmp_path)
    digest = folder.path.name.rsplit("-", 1)[1]
    save_checkpoint(folder.checkpoint_path, {"digest": digest, **broken})
    with pytest.raises(UserError, match=r"checkpoint\.pt does not hold this run's state"):
        train(experiment, tmp_path)


def test_what_is_logged_is_of_all_parts_of_an_accumulated_batch(dataset):
    trainer = Trainer(tiny("simclr", accumulate=3), dataset, device=torch.device("cpu"))
    trainer.method.train()
    parts = [trainer._forward(trainer._part(0, part)) for part in range(3)]
    output = Trainer(tiny("simclr", accumulate=3), dataset, device=torch.device("cpu")).step()
    losses = torch.stack([part.loss for part in parts])
    assert losses.std() > 1e-3
    torch.testing.assert_close(output.loss, losses.mean().detach())
    for name, value in output.metrics.items():
        torch.testing.assert_close(value, torch.stack([p.metrics[name] for p in parts]).mean())


@pytest.mark.parametrize("recipe", ["simclr", "supervised"])
def test_what_decides_on_compilation_are_the_steps_that_are_taken(recipe, tmp_path, monkeypatch):
    asked = {}

    def pays(device, *, steps, batch_size, mode):
        asked.update(steps=steps, batch_size=batch_size)
        return False

    monkeypatch.setattr("sslbench.engine.hardware.compile_pays", pays)
    data = load(DATA, root=Path("unused"))
    data = dataclasses.replace(data, unlabelled=data.train)
    images = 96 if recipe == "supervised" else 192  # labels are needed there
    folder = pretrain(
        tiny(recipe, accumulate=3), provenance={}, runs=tmp_path, root=tmp_path, dataset=data
    )
    assert asked == {"steps": 2 * (images // 48), "batch_size": 48}
    assert folder.summary()["steps"] == asked["steps"]


def test_gradient_does_not_reach_the_target(dataset):
    trainer = Trainer(tiny("byol"), dataset, device=torch.device("cpu"))
    target = [p.detach().clone() for p in trainer.method.target_parameters()]
    output = trainer._forward(trainer._part(0, 0))
    output.loss.backward()
    assert all(p.grad is None for p in trainer.method.target_parameters())
    assert all(torch.equal(a, b) for a, b in
               zip(target, trainer.method.target_parameters(), strict=True))  # fmt: skip


@pytest.mark.parametrize("recipe", ["npid", "align-uniform-queue"])
def test_a_restored_trainer_has_the_memory_and_constant_of_the_saved_one(recipe, dataset):
    saved, restored = (Trainer(tiny(recipe), dataset, device=torch.device("cpu")) for _ in range(2))
    for _ in range(3):
        saved.step()
    state = {name: value.clone() for name, value in saved.method.state_dict().items()}
    restored.load_state(copy.deepcopy(saved.state()))
    names = [n for n in state if {"bank", "partition", "queue"} & {*n.split(".")}]
    assert len(names) in (2, 3)  # the bank is the target's and the objective's
    for name in names:
        assert torch.equal(restored.method.state_dict()[name], state[name])
    assert torch.equal(saved.step().loss, restored.step().loss)


def test_every_part_of_an_accumulated_batch_is_remembered(dataset):
    trainer = Trainer(tiny("instdisc", accumulate=3), dataset, device=torch.device("cpu"))
    before = trainer.method.target.bank.entries.clone()
    trainer.step()
    assert (before != trainer.method.target.bank.entries).any(dim=1).sum() == 3 * 16
