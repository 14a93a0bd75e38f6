"""A table can ask for what is measured, and for nothing else."""

from __future__ import annotations

import pytest
import torch

from sslbench.data import load
from sslbench.engine.trainer import Trainer
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes import RECIPES
from sslbench.tables.metrics import find_value
from tests.tiny import TRAINED, tiny

ONE_OF_EACH = {type(RECIPES[name].objective): name for name in TRAINED}.values()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_whatever_a_loss_measures_can_be_a_column(name: str, tmp_path) -> None:
    experiment = tiny(name)
    dataset = load(experiment.data, root=tmp_path)
    trainer = Trainer(experiment, dataset, device=torch.device("cpu"), precision=None,
                      compile_views=False, compile_network=False)  # fmt: skip
    for measured in trainer.step().metrics:
        assert find_value(f"run:{measured}", "test").key == measured


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_value_of_every_protocol_can_be_a_column(protocol: str) -> None:
    for value in PROTOCOLS[protocol].values:
        assert find_value(f"{protocol}:{value.key}", "test") == value
    with pytest.raises(UserError, match=f"{protocol} measures no 'tpo1'"):
        find_value(f"{protocol}:tpo1", "test")
