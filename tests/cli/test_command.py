"""A command is a dataclass; options that commands share are inherited."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sslbench.cli import options as o
from sslbench.cli.app import ANALYSES, COMMANDS
from sslbench.cli.command import Command, add_command


@dataclass(frozen=True, kw_only=True)
class Greet(o.Places, o.Json):
    """Say where runs and data lie."""

    name: Annotated[str, typer.Argument()]
    times: Annotated[int, typer.Option(help="How often.")] = 1

    def __call__(self) -> None:
        """Say it."""
        typer.echo(f"{self.name} {self.times} {self.runs} {self.data_root} {self.json}")


@pytest.fixture
def call():
    app = typer.Typer()
    app.callback()(lambda: None)
    add_command(app, "greet", Greet)
    return lambda *words, **env: CliRunner().invoke(app, ["greet", *words], env=env).stdout


def test_a_new_command_has_its_own_options_and_the_shared_ones(call):
    assert call("you") == "you 1 runs data False\n"
    words = ["you", "--times", "2", "--runs", "a", "--data-root", "b", "--json"]
    assert call(*words) == "you 2 a b True\n"


def test_a_shared_option_reads_its_variable(call):
    assert call("you", SSLBENCH_RUNS="elsewhere") == "you 1 elsewhere data False\n"


def test_help_is_the_docstring_then_own_options_then_those_of_the_bases_in_order(call):
    text = call("--help", COLUMNS="200")
    words = ["Say where", "--times", "--runs", "--data-root", "--json", "--help"]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert "Say it" not in text


@pytest.mark.parametrize("command", [*COMMANDS.values(), *ANALYSES.values()])
def test_no_command_declares_again_what_it_could_inherit(command: type[Command]):
    groups = (o.OnData, o.Runs, o.DataRoot, o.Results, o.Device, o.Threads, o.Protocols, o.Json)
    shared = {f.name: group for group in groups for f in fields(group)}
    own = vars(command)["__annotations__"]
    again = {name for name in own if name in shared and issubclass(command, shared[name])}
    assert not again
