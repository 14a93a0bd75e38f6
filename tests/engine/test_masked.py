"""What masked modelling fits before its first epoch: once, of all processes, and kept."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import pytest
import torch

from sslbench import distributed
from sslbench.data import load
from sslbench.engine.checkpoint import load_weights
from sslbench.engine.trainer import Trainer
from sslbench.errors import Interrupted, UserError
from sslbench.objectives.patches import patchify
from tests.engine.test_pretrain import assert_same_encoder, stop_after, train
from tests.reference.processes import run_processes
from tests.tiny import DATA, tiny

COMPONENTS = {"objective__target": {"kind": "PrincipalComponents", "components": 6}}
FITTED = [("beit", {}), ("mae", COMPONENTS)]


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


def trainer_of(recipe: str, dataset, **changes) -> Trainer:
    return Trainer(tiny(recipe, **changes), dataset, device=torch.device("cpu"))


def sampled(patches: int) -> torch.Tensor:
    """The patches that a codebook is fitted to."""
    trainer = trainer_of(
        "beit", load(DATA, root=Path("unused")), objective__target__patches=patches
    )
    return trainer.method._sample(trainer._sweep)


@pytest.mark.parametrize(("most", "found"), [(96 * 16, 96 * 16), (10_000, 96 * 16), (500, 500)])
def test_the_target_is_fitted_to_so_many_different_patches_of_the_views(most, found, dataset):
    trainer = trainer_of("beit", dataset)
    rows = sampled(most)
    assert rows.shape == (found, 3 * 4**2)
    views = torch.cat([batch.views[0].images for batch in trainer._sweep()])
    known = Counter(map(tuple, patchify(views, 4).flatten(0, 1).tolist()))
    assert not Counter(map(tuple, rows.tolist())) - known


def test_few_patches_are_of_many_images(dataset):
    views = [batch.views[0].images for batch in trainer_of("beit", dataset)._sweep()]
    of_image = {
        tuple(p): i for i, ps in enumerate(patchify(torch.cat(views), 4).tolist()) for p in ps
    }
    assert len({of_image[tuple(row)] for row in sampled(64).tolist()}) == 64


CASES = [*FITTED, ("mae", {"mask__sampling": "block", "mask__ratio": 0.5}),
         ("mae", {"mask__in_encoder": True})]  # fmt: skip


def every_case() -> list[dict[str, torch.Tensor]]:
    """What the target is fitted to, and what two steps of each case leave and lose."""
    dataset, found = load(DATA, root=Path("unused")), []
    for recipe, changes in CASES:
        trainer = trainer_of(recipe, dataset, **changes)
        losses = [distributed.mean(trainer.step().loss.detach()) for _ in range(2)]
        found.append({**trainer.method.target.state_dict(), "losses": torch.stack(losses)})
    return [{"patches": sampled(500)}, *found]


def test_two_processes_have_the_patches_the_target_and_the_losses_of_one(tmp_path):
    alone = every_case()
    for together in run_processes(every_case, folder=tmp_path):
        for one, two in zip(alone, together, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("recipe", "changes"), FITTED)
@pytest.mark.parametrize("steps", [1, 6, 9])
def test_a_restored_trainer_goes_on_with_the_target_and_fits_no_other(
    recipe, changes, steps, dataset, monkeypatch
):
    saved, restored = (trainer_of(recipe, dataset, **changes) for _ in range(2))
    for _ in range(steps):
        saved.step()
    restored.load_state(copy.deepcopy(saved.state()))
    monkeypatch.setattr(type(restored.method.target), "fit", None)  # a call would fail
    first, second = ([t.step().loss.item() for _ in range(3)] for t in (saved, restored))
    assert first == second


@pytest.mark.parametrize("step", [3, 6, 8])
def test_a_run_with_a_codebook_stopped_anywhere_is_the_uninterrupted_run(step, tmp_path):
    whole = train(tiny("beit"), tmp_path / "a")
    with pytest.raises(Interrupted):
        train(tiny("beit"), tmp_path / "b", progress=stop_after(step))
    resumed = train(tiny("beit"), tmp_path / "b")
    assert_same_encoder(whole, resumed)
    books = [load_weights(folder.network_path("target")) for folder in (whole, resumed)]
    assert torch.equal(books[0]["centres"], books[1]["centres"])


def test_a_run_killed_while_it_fits_begins_again_to_the_same_end(tmp_path, monkeypatch):
    whole = train(tiny("beit"), tmp_path / "a")
    kind = type(trainer_of("beit", load(DATA, root=tmp_path)).method.target)

    def killed(self, patches):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tiny("beit"), tmp_path / "b")
    assert_same_encoder(whole, train(tiny("beit"), tmp_path / "b"))


def test_what_is_fitted_and_the_decoder_lie_beside_the_encoder(tmp_path):
    folder = train(tiny("beit"), tmp_path)
    assert load_weights(folder.network_path("target"))["centres"].shape == (16, 48)
    assert "mask_token" in load_weights(folder.network_path("decoder"))
    assert not train(tiny("mae"), tmp_path).network_path("target").exists()


def test_more_codes_than_patches_are_refused(dataset):
    with pytest.raises(UserError, match="1536 patches cannot have 2000 centres"):
        trainer_of(
            "beit", dataset, objective__target__size=2000, objective__target__patches=10_000
        ).step()
