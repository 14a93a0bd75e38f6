"""Training on streamed images: what training on resident ones gives, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from sslbench import distributed
from sslbench.data import load
from sslbench.engine.checkpoint import load_weights
from sslbench.engine.pretrain import Options, pretrain
from sslbench.engine.trainer import Trainer
from sslbench.errors import DataWarning, Interrupted, UserError
from tests.data.streaming.conftest import spec_of, write_set
from tests.reference.processes import run_processes
from tests.tiny import tiny

OPTIONS = Options(device="cpu", precision="fp32", compile="off", threads=1, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 training images of 16 pixels: six steps of 16."""
    return write_set(tmp_path_factory.mktemp("pictures"), train=48)


def experiment(recipe: str, folder: Path, **more: object):
    return tiny(recipe).but(data=spec_of(folder, **more))


# A clustering recipe reads all images before an epoch, a memory bank knows them by their place, and
# one accumulates.
@pytest.mark.parametrize(
    ("recipe", "changes"),
    [("simclr", {}), ("byol", {"accumulate": 2}), ("deepcluster-v2", {}), ("npid", {})],
)
def test_losses_are_those_of_resident_images(recipe: str, changes: dict, pictures: Path) -> None:
    losses = []
    for stream in (False, True):
        own = tiny(recipe, **changes).but(data=spec_of(pictures, stream=stream))
        dataset = load(own.data, root=pictures)
        trainer = Trainer(own, dataset, device=torch.device("cpu"))
        losses.append([trainer.step().loss.item() for _ in range(trainer.total_steps)])
        trainer.close()
    assert losses[0] == losses[1]


@pytest.mark.parametrize("recipe", ["simclr", "deepcluster-v2"])
def test_a_run_stopped_inside_an_epoch_goes_on_bit_for_bit(
    recipe: str, pictures: Path, tmp_path: Path
) -> None:
    def stop(step: int, total: int, stats: object) -> None:
        if step == 8:  # the second of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    own = experiment(recipe, pictures)
    with pytest.raises(Interrupted):
        pretrain(own, provenance={}, runs=tmp_path / "a", root=pictures, options=OPTIONS,
                 progress=stop)  # fmt: skip
    runs = [
        pretrain(own, provenance={}, runs=tmp_path / name, root=pictures, options=OPTIONS)
        for name in "ab"
    ]
    first, second = (load_weights(run.encoder_path) for run in runs)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def _seen(folder: str) -> list:
    """The images of each step on this process, and the losses."""
    own = experiment("simclr", Path(folder))
    trainer = Trainer(own, load(own.data, root=Path(folder)), device=torch.device("cpu"))
    images = [trainer._reader.batch(number) for number in range(7)]
    losses = [distributed.mean(trainer.step().loss.detach()) for _ in range(3)]
    trainer.close()
    return [torch.stack(images), torch.stack(losses)]


def test_two_processes_see_what_one_sees(pictures: Path, tmp_path: Path) -> None:
    images, losses = _seen(str(pictures))
    (first, shared), (second, _) = run_processes(_seen, str(pictures), folder=tmp_path)
    assert torch.equal(images, torch.cat([first, second], dim=1))
    assert torch.allclose(losses, shared, rtol=1e-5)


def _break(folder: Path, name: str) -> Path:
    path = folder / "train" / name
    path.write_bytes(path.read_bytes()[:100])
    return path


def test_a_broken_image_is_named_and_the_run_refused(tmp_path: Path) -> None:
    path = _break(write_set(tmp_path / "set", train=48), "cat/007.png")
    own = experiment("simclr", tmp_path / "set")
    with pytest.raises(UserError, match=f"'{path}' is not a readable image.*--broken skip") as seen:
        pretrain(own, provenance={}, runs=tmp_path, root=tmp_path, options=OPTIONS)
    assert "\n" not in str(seen.value)


def test_a_broken_image_is_skipped_counted_and_named(tmp_path: Path) -> None:
    path = _break(write_set(tmp_path / "set", train=48), "cat/047.png")
    own = experiment("simclr", tmp_path / "set", broken="skip")
    with pytest.warns(DataWarning, match=f"'{path}' cannot be read; the next image of its class"):
        run = pretrain(own, provenance={}, runs=tmp_path, root=tmp_path, options=OPTIONS)
    assert run.summary()["images"]["broken"] == 1 and run.summary()["broken"] == (str(path),)
    assert run.experiment().data.stream is True
    images = load(own.data, root=tmp_path).train.images
    with pytest.warns(DataWarning):  # the last cat: the first one, not a dog
        found = images[torch.tensor([47])]
    assert torch.equal(found, images[torch.tensor([0])])


def test_a_worker_that_dies_is_a_sentence_and_the_run_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    def kill(step: int, total: int, stats: object) -> None:
        if step == 2:  # more batches are left than are read ahead
            child = max(multiprocessing.active_children(), key=lambda c: c.pid)  # of this run
            os.kill(child.pid, signal.SIGKILL)
            child.join()

    own = experiment("simclr", pictures)
    with pytest.raises(
        UserError, match=r"reads images died .*run the same command.*fewer of them help"
    ):
        pretrain(own, provenance={}, runs=tmp_path, root=pictures, options=OPTIONS, progress=kill)
    run = pretrain(own, provenance={}, runs=tmp_path, root=pictures, options=OPTIONS)
    whole = pretrain(own, provenance={}, runs=tmp_path / "b", root=pictures, options=OPTIONS)
    first, second = (load_weights(r.encoder_path) for r in (run, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
