from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sslbench.data import Dataset, load
from sslbench.errors import UserError
from sslbench.evaluation.features import (
    Features,
    cache_key,
    encode,
    extract,
    read_features,
    write_features,
)
from sslbench.models import build_encoder
from sslbench.recipes.specs import NarrowResNet, RawPixels
from sslbench.views import normalize
from tests.tiny import DATA

FEATURES = Features(torch.rand(5, 3), torch.rand(2, 3))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(DATA, root=tmp_path_factory.mktemp("data"))


def test_features_are_the_encoder_on_normalised_images(dataset: Dataset) -> None:
    encoder = build_encoder(NarrowResNet(width=4), resolution=16)
    images, channels = dataset.test.images, {"mean": dataset.mean, "std": dataset.std}
    found = encode(encoder, images, **channels, batch_size=7)
    with torch.no_grad():
        expected = encoder.eval()(normalize(images, dataset.mean, dataset.std))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_raw_pixels_are_features_as_they_are(dataset: Dataset) -> None:
    encoder = build_encoder(RawPixels(), resolution=16)
    found = encode(encoder, dataset.test.images, mean=(0, 0, 0), std=(1, 1, 1))
    torch.testing.assert_close(found * 255, dataset.test.images.flatten(1).float())


def test_features_come_in_the_order_of_the_splits(dataset: Dataset) -> None:
    encoder = build_encoder(RawPixels(), resolution=16)
    features = extract(encoder, dataset, mean=dataset.mean, std=dataset.std, batch_size=10)
    assert (len(features.train), len(features.test)) == (96, 32)
    torch.testing.assert_close(
        features.train, normalize(dataset.train.images, dataset.mean, dataset.std).flatten(1)
    )


def test_a_diverged_encoder_is_named(dataset: Dataset) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) * float("nan")

    with pytest.raises(UserError, match="not finite"):
        extract(Broken(), dataset, mean=dataset.mean, std=dataset.std)


def test_the_cache_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "features" / "x.safetensors"
    write_features(path, FEATURES, key="k")
    found = read_features(path, key="k")
    assert found is not None
    assert torch.equal(found.train, FEATURES.train) and torch.equal(found.test, FEATURES.test)


def test_a_cache_of_something_else_is_not_read(tmp_path: Path) -> None:
    write_features(tmp_path / "x.safetensors", FEATURES, key="k")
    assert read_features(tmp_path / "x.safetensors", key="other") is None


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_torn_cache_is_not_read(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.safetensors"
    write_features(path, FEATURES, key="k")
    path.write_bytes(path.read_bytes()[:keep])
    assert read_features(path, key="k") is None


@pytest.mark.parametrize("field", ["encoder", "fingerprint", "mean", "std"])
def test_the_key_covers_encoder_data_and_normalisation(field: str) -> None:
    same = {"encoder": "a", "fingerprint": "b", "mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0)}
    changed = same | {field: "c" if isinstance(same[field], str) else (0.5, 0.5, 0.5)}
    assert cache_key(**same) == cache_key(**same) != cache_key(**changed)  # type: ignore[arg-type]
