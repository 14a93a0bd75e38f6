"""A fit stops, resumes and repeats bit for bit, and says in a sentence what went wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from sslbench.engine import fit as module
from sslbench.engine.fit import Diverged, Fit
from sslbench.errors import Interrupted, UserError
from sslbench.streams import normal, stream_key
from tests.killed import kill_at, killed


def made(path: Path, *, steps: int = 12, rate: float = 0.1, seed: int = 0, **more) -> Fit:
    """A small network with dropout on keyed noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8))

    def loss_of(step: int) -> torch.Tensor:
        return network(normal(stream_key(seed, "x", step), torch.arange(6), 4)).square().mean()

    group = {"params": list(network.parameters()), "lr": rate, "base_lr": rate, "constant": False}
    settings = {
        "what": "fit of a test", "module": network, "steps": steps, "loss_of": loss_of,
        "optimizer": torch.optim.AdamW([group]), "factor_of": lambda step: 1 - step / steps,
        "seed": seed, "path": path, "digest": "d",
    }  # fmt: skip
    return Fit(**settings | more)


def weights(fit: Fit) -> dict[str, torch.Tensor]:
    return fit.module.state_dict()


def assert_same(a: Fit, b: Fit) -> None:
    for name, value in weights(a).items():
        assert torch.equal(value, weights(b)[name]), name


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_and_resumed_fit_is_the_uninterrupted_one(number, tmp_path):
    whole = made(tmp_path / "a.pt")
    whole.run()

    def stop(step, steps, metrics):
        if step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"after step 5 of 12 of the fit of a test; saved"):
        made(tmp_path / "b.pt", progress=stop).run()
    seen = []
    resumed = made(tmp_path / "b.pt", progress=lambda step, steps, metrics: seen.append(step))
    resumed.run()
    assert seen[0] == 6
    assert_same(whole, resumed)
    assert resumed.curve == whole.curve  # also of what was done before
    assert [step for step, _ in whole.curve] == list(range(1, 13))


def test_a_killed_fit_resumes_bit_for_bit(tmp_path):
    whole = made(tmp_path / "a.pt")
    whole.run()
    assert killed(lambda: made(tmp_path / "b.pt", progress=kill_at(7)).run())
    assert (tmp_path / "b.pt").is_file()
    resumed = made(tmp_path / "b.pt")
    resumed.run()
    assert_same(whole, resumed)
    resumed.discard()
    assert not (tmp_path / "b.pt").exists()


def test_it_leaves_the_global_generator_as_it_was_and_depends_on_its_own_seed(tmp_path):
    before = torch.random.get_rng_state()
    a, b, other = made(tmp_path / "a"), made(tmp_path / "b"), made(tmp_path / "c", seed=1)
    a.run()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)  # another state outside
    b.run()
    other.run()
    assert_same(a, b)
    assert not torch.equal(weights(a)["0.weight"], weights(other)["0.weight"])


def test_rates_follow_the_schedule_from_each_groups_base(tmp_path):
    fit = made(tmp_path / "a", factor_of=lambda step: 0.25)
    fit.run()
    assert fit.optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


def test_a_loss_that_is_not_finite_is_a_sentence(tmp_path):
    broken = made(tmp_path / "a", loss_of=lambda step: weights_sum(fit) * float("nan"))
    fit = made(tmp_path / "b")
    with pytest.raises(Diverged, match=r"The loss of the fit of a test is not finite at step 1;"):
        broken.run()


def weights_sum(fit: Fit) -> torch.Tensor:
    return sum(p.sum() for p in fit.module.parameters())


def test_memory_that_runs_out_is_a_sentence(tmp_path):
    def fail(step):
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(UserError, match="Memory ran out in the fit of a test; use a smaller"):
        made(tmp_path / "a", loss_of=fail).run()


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_user(tmp_path):
    def fail(step):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        made(tmp_path / "a", loss_of=fail).run()


def test_another_fits_checkpoint_and_a_damaged_one_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    made(path).run()
    with pytest.raises(UserError, match="belongs to another run"):
        made(path, digest="e").run()
    small = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(small.parameters())
    with pytest.raises(UserError, match=r"does not hold the state of the fit of a test"):
        made(path, module=small, optimizer=optimizer).run()
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match="not a complete checkpoint"):
        made(path).run()


def test_it_trains_in_float32_also_inside_autocast(tmp_path):
    kinds = []

    def loss_of(step):
        x = fit.module(torch.randn(6, 4))
        kinds.append(x.dtype)
        return x.square().mean()

    fit = made(tmp_path / "a", steps=1)
    inside = made(tmp_path / "b", steps=1, module=fit.module, loss_of=loss_of)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside.run()
    assert kinds == [torch.float32]
