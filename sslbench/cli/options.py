"""Options that several commands share: each is written once, and a command inherits it.

No `from __future__ import annotations` here; command.py says why.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sslbench.cli import values
from sslbench.errors import UserError
from sslbench.evaluation.protocols import DEFAULTS

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder

RESULTS = Path("results")

Run = Annotated[str, typer.Argument(help="A run folder, or the start of its name.")]
RunOrFile = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run (folder, or start of its name), or another library's encoder."
    ),
]
Scale = Annotated[str, typer.Option(help="smoke, laptop, desktop, cifar or paper.")]


def seed_of(what: str) -> Any:
    """The option `--seed`, for `Annotated`: what it is the seed of is the commands' own."""
    return typer.Option(help=f"Of {what}.", callback=values.require_seed)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What becomes of a recipe before it is trained."""

    scale: Scale = "laptop"
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="FIELD=VALUE, e.g. target.momentum=0.99; data.FIELD changes the data."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class OnData:
    """Other data than the usual."""

    dataset: Annotated[
        str | None,
        typer.Option(
            help="A set's name, or NAME:PATH for local folders (folder:photos). Default: the "
            "scale's."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How folders of images are read."""

    stream: Annotated[
        str,
        typer.Option(
            help="Read images while they are used: auto (where memory is short), on or off."
        ),
    ] = "auto"
    broken: Annotated[
        str,
        typer.Option(help="Streamed images that cannot be read: refuse, or skip (and count)."),
    ] = "refuse"

    def streaming(self) -> dict[str, Any]:
        """What is said of it, by the data's fields. Raises UserError for another word."""
        for option, value, known in (
            ("--stream", self.stream, ("auto", "on", "off")),
            ("--broken", self.broken, ("refuse", "skip")),
        ):
            if value not in known:
                raise UserError(f"{option} {value}: say {', '.join(known[:-1])} or {known[-1]}.")
        said: dict[str, Any] = {} if self.stream == "auto" else {"stream": self.stream == "on"}
        return said | ({} if self.broken == "refuse" else {"broken": self.broken})


@dataclass(frozen=True, kw_only=True)
class DataScale:
    """At which scale other data is taken, where a run has one already."""

    scale: Annotated[str, typer.Option(help="Scale of --dataset; default: the run's.")] = ""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Where runs lie."""

    runs: Annotated[
        Path,
        typer.Option(help="Where run folders lie.", envvar="SSLBENCH_RUNS", show_default=True),
    ] = Path("runs")

    def open_run(self, name: str) -> "RunFolder":
        """The run that a user named by its folder or the start of its name. Raises UserError."""
        from sslbench.engine.folder import RunFolder
        from sslbench.requests import find_run

        return RunFolder.open(find_run(name, self.runs))


@dataclass(frozen=True, kw_only=True)
class DataRoot:
    """Where data lies."""

    data_root: Annotated[
        Path, typer.Option(help="Where data sets lie.", envvar="SSLBENCH_DATA", show_default=True)
    ] = Path("data")


@dataclass(frozen=True, kw_only=True)
class Places(Runs, DataRoot):
    """Where runs and data lie."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Where measured tables lie."""

    results: Annotated[Path, typer.Option(help="Where measured tables lie.")] = RESULTS


@dataclass(frozen=True, kw_only=True)
class Device:
    """On what it runs."""

    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"

    def pick_device(self) -> str:
        """The device asked for, as torch names it. Raises UserError."""
        from sslbench.engine.hardware import pick_device

        return str(pick_device(self.device))


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where runs that go side by side are done."""

    backend: Annotated[
        str,
        typer.Option(help="local, or ray for a cluster (extra `ray`; --device cuda: a GPU each)."),
    ] = "local"

    def pick_backend(self) -> Literal["local", "ray"]:
        """The backend asked for. Raises UserError for another."""
        if self.backend not in ("local", "ray"):
            raise UserError(f"No backend '{self.backend}'; known: local, ray.")
        return "ray" if self.backend == "ray" else "local"


@dataclass(frozen=True, kw_only=True)
class Threads:
    """How many threads it takes."""

    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: all this process has.")
    ] = None

    def prepare(self) -> None:
        """Threads and the like, before anything is computed. Raises UserError."""
        from sslbench.engine.hardware import prepare_process

        prepare_process(self.threads)


@dataclass(frozen=True, kw_only=True)
class Protocols:
    """Under which protocols a run is scored."""

    protocol: Annotated[
        str, typer.Option(help="Comma-separated, as `sslbench list protocols` has them.")
    ] = ",".join(DEFAULTS)


@dataclass(frozen=True, kw_only=True)
class Json:
    """In which form the outcome is printed."""

    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False

    def print_json(self, plain: Any) -> None:
        """Plain data, for scripts."""
        typer.echo(json.dumps(plain, indent=1))
