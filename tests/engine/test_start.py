"""A run that starts from another: trained once, taken over whole, resumed bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sslbench.data import load
from sslbench.engine import pretrain as module
from sslbench.engine.building import build_method
from sslbench.engine.checkpoint import load_weights
from sslbench.engine.place import run_folder
from sslbench.engine.start import take_over
from sslbench.errors import Interrupted, InUse, RunFailed, UserError
from sslbench.recipes.recipe import Experiment
from tests.engine.test_pretrain import assert_same_encoder, stop_after, train
from tests.reference.processes import run_processes
from tests.tiny import DATA, tiny


def pair(recipe: str = "simclr", before: str = "simclr", **changes) -> Experiment:
    """A recipe that starts from another, or from itself at another temperature."""
    begun = tiny(before, **({"objective__temperature": 2.5} if before == "simclr" else {})).recipe
    return tiny(recipe, **changes).but({"recipe.start": begun})


def start_folder(experiment: Experiment, path: Path):
    return run_folder(experiment.start, runs=path, root=path)


def test_the_start_is_trained_first_and_once(tmp_path: Path, monkeypatch) -> None:
    steps = []
    folder = train(pair(), tmp_path, progress=lambda step, total, stats: steps.append(step))
    assert steps == [*range(1, 13), *range(1, 13)]
    start = start_folder(pair(), tmp_path)
    assert start.status() == "finished" and folder.summary()["start"] == start.path.name
    steps.clear()
    train(pair(optimizer__lr=0.5), tmp_path, progress=lambda step, *_: steps.append(step))
    assert steps == [*range(1, 13)]
    monkeypatch.setattr(module, "Trainer", None)
    assert train(pair(), tmp_path).path == folder.path
    assert train(pair().start, tmp_path).path == start.path


def test_a_finished_run_needs_its_start_no_more(tmp_path: Path, monkeypatch) -> None:
    folder = train(pair(), tmp_path)
    start_folder(pair(), tmp_path).path.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(module, "Trainer", None)
    assert train(pair(), tmp_path).path == folder.path


def test_a_run_of_no_epochs_is_its_start(tmp_path: Path) -> None:
    whole, start = train(pair(epochs=0), tmp_path), start_folder(pair(), tmp_path)
    assert_same_encoder(whole, start)
    one, two = (load_weights(f.network_path("projector")) for f in (whole, start))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize(
    ("recipe", "before", "changes"),
    [
        ("simclr", "simclr", {}),
        ("byol", "simclr", {}),
        ("moco-v2", "supervised", {}),
        ("supervised", "byol", {}),
        ("simclr", "simclr", {"projector__out": 4}),
    ],
)
def test_a_stopped_and_resumed_run_is_the_uninterrupted_run(
    recipe: str, before: str, changes: dict[str, int], tmp_path: Path
) -> None:
    experiment = pair(recipe, before, **changes)
    whole = train(experiment, tmp_path / "a")
    train(experiment.start, tmp_path / "b")
    with pytest.raises(Interrupted, match="Run the same command again"):
        train(experiment, tmp_path / "b", progress=stop_after(7))
    resumed = train(experiment, tmp_path / "b")
    assert_same_encoder(whole, resumed)
    assert whole.metrics() == resumed.metrics()
    assert whole.summary()["final"] == resumed.summary()["final"]
    assert whole.summary()["start"] == resumed.summary()["start"]


def test_a_run_that_goes_on_needs_its_start_no_more(tmp_path: Path) -> None:
    whole = train(pair(), tmp_path / "a")
    train(pair().start, tmp_path / "b")
    with pytest.raises(Interrupted):
        train(pair(), tmp_path / "b", progress=stop_after(7))
    start = start_folder(pair(), tmp_path / "b").path
    start.rename(tmp_path / "elsewhere")
    assert_same_encoder(whole, train(pair(), tmp_path / "b"))
    assert not start.exists()


def test_an_interrupted_start_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = train(pair(), tmp_path / "a")
    with pytest.raises(Interrupted):
        train(pair(), tmp_path / "b", progress=stop_after(7))
    assert start_folder(pair(), tmp_path / "b").status() == "interrupted"
    assert_same_encoder(whole, train(pair(), tmp_path / "b"))


def test_a_start_is_part_of_what_a_run_is() -> None:
    plain, from_one, from_other = tiny("simclr"), pair(), pair(before="byol")
    assert len({e.digest() for e in (plain, from_one, from_other)}) == 3
    renamed = from_one.but({"recipe.start.name": "mine", "recipe.start.source": "me"})
    assert renamed.digest() == from_one.digest()
    assert from_one.start is not None and from_one.start.seed == from_one.seed
    assert from_one.but(seed=3).start == from_one.start.but(seed=3)


def test_the_projector_is_taken_over_where_it_has_the_same_shape() -> None:
    dataset = load(DATA, root=Path("unused"))
    given = build_method(tiny("simclr", seed=5), dataset)
    states = {name: n.state_dict() for name, n in given.exported().items()}
    for changes, taken in (
        ({}, True),
        ({"projector__out": 4}, False),
        ({"projector": None}, False),
    ):
        fresh = build_method(tiny("simclr", **changes), dataset)
        before = {k: v.clone() for k, v in fresh.projector.state_dict().items()}
        fresh.take_over(states)
        wanted = states["projector"] if taken else before
        assert all(torch.equal(v, wanted[k]) for k, v in fresh.projector.state_dict().items())
        for name, value in fresh.encoder.state_dict().items():
            assert torch.equal(value, states["encoder"][name])


@pytest.mark.parametrize(("target", "same"), [("EMA", True), ("ConstantRandom", False)])
def test_a_moving_average_begins_at_what_was_taken_over(target: str, same: bool) -> None:
    dataset = load(DATA, root=Path("unused"))
    given = build_method(tiny("simclr", seed=5), dataset)
    method = build_method(tiny("simclr", target=target), dataset)
    method.take_over({name: n.state_dict() for name, n in given.exported().items()})
    mine, theirs = method.encoder.state_dict(), method.target.encoder.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in mine) == same


def test_a_start_that_diverged_is_refused_without_a_second_try(tmp_path: Path, monkeypatch) -> None:
    wild = tiny("simclr", optimizer={"kind": "SGD", "lr": 1e30}).recipe
    experiment = tiny("simclr").but({"recipe.start": wild})
    with pytest.raises(RunFailed, match="not finite"):
        train(experiment, tmp_path)
    assert start_folder(experiment, tmp_path).diverged
    monkeypatch.setattr(module, "Trainer", None)
    with pytest.raises(UserError, match=r"simclr-s0-.* starts from simclr-s0-.*, which diverged"):
        train(experiment, tmp_path)


def test_a_start_that_another_process_trains_is_waited_for(tmp_path: Path) -> None:
    with start_folder(pair(), tmp_path).lock(), pytest.raises(InUse):
        train(pair(), tmp_path)
    assert train(pair(), tmp_path).status() == "finished"


def trained(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(train(pair(), path).encoder_path)


@pytest.mark.slow
def test_two_processes_train_the_start_and_go_on_as_one_does(tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    one = trained(tmp_path / "one")
    first, second = run_processes(trained, tmp_path / "two", folder=tmp_path / "meet")
    assert len(list((tmp_path / "two").iterdir())) == 2
    for name, value in one.items():
        assert torch.equal(first[name], second[name])
        assert_close(first[name], value, rtol=1e-2, atol=1e-3)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(UserError, match=r"encoder.width is 4 here and 8 in start \(simclr\)"):
        pair(encoder={"kind": "NarrowResNet", "width": 4, "blocks": [1, 1], "stem_stride": 2}).but(
            {"recipe.start.encoder.width": 8}
        )
    with pytest.raises(UserError, match=r"encoder\.kind is NarrowResNet here and ViT in start"):
        pair(before="dino")


def test_a_start_is_checked_as_a_recipe_of_its_own() -> None:
    with pytest.raises(UserError, match=r"the queue \(33\) must be a multiple of the batch"):
        pair(before="moco-v2").but({"recipe.start.objective.queue": 33})


def test_networks_that_do_not_fit_are_refused_in_a_sentence(tmp_path: Path) -> None:
    other = train(tiny("simclr", encoder__width=8), tmp_path)
    method = build_method(tiny("simclr"), load(DATA, root=Path("unused")))
    with pytest.raises(UserError, match="does not fit the run that starts from it"):
        take_over(method, other)
    other.encoder_path.unlink()
    with pytest.raises(UserError, match="no such file"):
        take_over(method, other)


def test_a_start_may_start_from_a_run(tmp_path: Path) -> None:
    inner = pair()
    experiment = tiny("simclr", optimizer__lr=0.5).but({"recipe.start": inner.recipe})
    folder = train(experiment, tmp_path)
    assert run_folder(inner, runs=tmp_path, root=tmp_path).summary()["start"]
    assert folder.experiment() == experiment
