"""A folder of small runs of every kind, trained and scored once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.evaluation.evaluate import evaluate
from sslbench.recipes.specs import ImageSet
from tests.tiny import tiny


def train(store: Path, recipe: str, *, protocols: tuple[str, ...] = (), **changes) -> RunFolder:
    """A run of a second, scored."""
    experiment = tiny(recipe, seed=changes.pop("seed", 0), **changes)
    provenance = dict.fromkeys(changes, "--set")
    folder = pretrain(
        experiment, provenance=provenance, runs=store, root=store, options=Options(device="cpu")
    )
    if protocols:
        evaluate(folder, protocols, root=store)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder of 60 pictures without labels."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("flat") / "photos"
    folder.mkdir()
    for i in range(60):
        Image.new("RGB", (20, 20), (4 * i, 255 - 4 * i, 9 * i % 256)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    store = tmp_path_factory.mktemp("runs") / "runs"
    for seed in (0, 1):
        train(store, "simclr", seed=seed, protocols=("knn", "geometry"))
    train(store, "simclr", objective__temperature=0.5, protocols=("knn",))
    train(store, "simsiam", predictor=None)
    train(store, "untrained", protocols=("knn",))
    train(store, "raw-pixels", protocols=("knn",))
    data = ImageSet(name="flat", path=str(photos), resolution=16)
    pretrain(tiny("simclr").but(data=data), provenance={}, runs=store, root=store,
             options=Options(device="cpu"))  # fmt: skip
    begun = RunFolder(store / "byol-s0-begun")
    begun.write_experiment(tiny("byol"), {})
    failed = RunFolder(store / "byol-s3-failed")
    failed.write_experiment(tiny("byol", seed=3), {})
    failed.write_summary({"status": "failed", "error": "The loss is not finite at step 3."})
    (store / "broken-s0").mkdir()
    (store / "broken-s0" / "experiment.yaml").write_text("experiment: [")
    (store / "notes").mkdir()
    return store


@pytest.fixture
def store(_store: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(_store, tmp_path / "runs"))


@pytest.fixture(scope="session")
def kept(_store: Path) -> Path:
    """The folder itself, for tests that only read it."""
    return _store
