"""What torchrun's variables may hold."""

from __future__ import annotations

import pytest

from sslbench.engine.launch import process_group
from sslbench.errors import UserError


def enter() -> None:
    with process_group("cpu"):
        pass


def test_without_torchrun_the_device_is_the_one_asked_for(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group("cpu") as device:
        assert device == "cpu"


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UserError, match="WORLD_SIZE=two in the environment is not a whole number"):
        enter()


def test_processes_that_cannot_be_joined_are_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="start them with torchrun, or unset WORLD_SIZE"):
        enter()
