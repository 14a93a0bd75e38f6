"""A trained run of a second, and random directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import Split
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.subject import Subject
from tests.tiny import tiny


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """SimCLR on 96 training and 32 test images of 16 pixels, with its projector."""
    folder = tmp_path_factory.mktemp("analyses")
    return pretrain(tiny("simclr"), provenance={}, runs=folder / "runs", root=folder)


@pytest.fixture(scope="session")
def subject(trained: RunFolder) -> Subject:
    return open_subject(trained, root=trained.path.parent)


@pytest.fixture(scope="session")
def unlabelled(subject: Subject) -> Subject:
    """The same on the same images without labels."""
    data = subject.dataset
    bare = dataclasses.replace(
        data, classes=(), train=Split(data.train.images), test=Split(data.test.images)
    )
    return dataclasses.replace(subject, dataset=bare)


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """An untrained ViT of 3 heads and 4×4 patches, whose class token is the representation."""
    folder = tmp_path_factory.mktemp("vit")
    experiment = tiny("untrained", encoder={"kind": "ViT", "arch": "tiny", "patch": 4})
    run = pretrain(experiment, provenance={}, runs=folder / "runs", root=folder)
    return open_subject(run, root=folder)


@pytest.fixture(scope="session")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A run with two heads of 8 prototypes."""
    folder = tmp_path_factory.mktemp("clustered")
    experiment = tiny(
        "simclr",
        objective={"kind": "ClusterAssignment"},
        prototypes={"kind": "Prototypes", "count": 8, "heads": 2},
    )
    run = pretrain(experiment, provenance={}, runs=folder / "runs", root=folder)
    return open_subject(run, root=folder)


@pytest.fixture(scope="session")
def sphere() -> Callable[..., Tensor]:
    """N unit vectors of D dimensions, float64, by seed."""

    def draw(n: int, d: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return F.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)

    return draw
