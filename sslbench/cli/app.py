"""The index of the commands. Each imports what it needs when it runs, so that --help answers at
once."""

from __future__ import annotations

from typing import Annotated

import typer

from sslbench.cli import analyze
from sslbench.cli.ablate import Ablate
from sslbench.cli.check import Check
from sslbench.cli.command import Command, add_command
from sslbench.cli.compare import Compare
from sslbench.cli.eval import Evaluate, Transfer
from sslbench.cli.export import Export
from sslbench.cli.leaderboard import Leaderboard
from sslbench.cli.list import List
from sslbench.cli.pack import Pack
from sslbench.cli.predictions import PerClass, Predictions
from sslbench.cli.pretrain import Pretrain
from sslbench.cli.report import Report
from sslbench.cli.tune import Tune

COMMANDS: dict[str, type[Command]] = {
    "list": List,
    "pretrain": Pretrain,
    "eval": Evaluate,
    "transfer": Transfer,
    "compare": Compare,
    "ablate": Ablate,
    "leaderboard": Leaderboard,
    "tune": Tune,
    "report": Report,
    "check": Check,
    "export": Export,
    "pack": Pack,
}
ANALYSES: dict[str, type[Command]] = {
    "similarity": analyze.Similarity,
    "hypersphere": analyze.Hypersphere,
    "spectrum": analyze.Spectrum,
    "coupling": analyze.Coupling,
    "sampling-bias": analyze.SamplingBias,
    "neighbours": analyze.Neighbours,
    "attention": analyze.Attention,
    "reconstruction": analyze.Reconstruction,
    "predictions": Predictions,
    "per-class": PerClass,
    "prototypes": analyze.Prototypes,
    "stability": analyze.Stability,
}

app = typer.Typer(
    name="sslbench",
    help="Self-supervised vision methods, one recipe each, measured under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
analyses = typer.Typer(
    help="Pictures of a representation, with their numbers: similarity, spectrum and others.",
    no_args_is_help=True,
)
app.add_typer(analyses, name="analyze")
for _name, _command in COMMANDS.items():
    add_command(app, _name, _command)
for _name, _command in ANALYSES.items():
    add_command(analyses, _name, _command)


def _version(show: bool) -> None:
    if show:
        import sslbench

        typer.echo(sslbench.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            help="A file or module with methods or data of your own; may be given several times. "
            "SSLBENCH_PLUGINS is read too."
        ),
    ] = None,
) -> None:
    """Self-supervised vision methods, one recipe each, measured under one protocol."""
    from sslbench.plugins import load_all

    load_all(plugin or ())
