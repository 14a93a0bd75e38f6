"""The commands. Each imports what it needs when it runs, so that --help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslbench.cli import analyze
from sslbench.cli import options as o

app = typer.Typer(
    name="sslbench",
    help="Self-supervised vision methods, one recipe each, measured under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(analyze.app, name="analyze")


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
) -> None:
    """Self-supervised vision methods, one recipe each, measured under one protocol."""


@app.command("list")
def list_command(
    what: Annotated[
        str, typer.Argument(help="recipes, tables, datasets, scales, protocols or runs.")
    ] = "recipes",
    runs: o.Runs = o.RUNS,
    json: o.Json = False,
) -> None:
    """What there is: recipes, tables, data sets, scales, protocols, runs."""
    from sslbench.cli.listing import show

    show(what, runs=runs, as_json=json)


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file from --show.")],
    scale: o.Scale = "laptop",
    dataset: o.Dataset = None,
    seed: Annotated[int, typer.Option(help="Of initialisation, order and views.")] = 0,
    set_: o.Sets = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    compile_: o.Compile = "auto",
    threads: o.Threads = None,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(help="Least time between two checkpoints.", callback=o.require_seconds),
    ] = 60.0,
    monitor_points: Annotated[
        int | None,
        typer.Option(
            help="Points of the kNN curve, inside epochs too; default: 20, at most one an epoch.",
            min=1,
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard events.")] = True,
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved recipe as YAML; train nothing.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Train one recipe; run it again to resume, or to be told where the finished run lies.

    Under torchrun it trains on all its processes.
    """
    from sslbench.cli import training

    resolved = o.resolved(recipe, scale=scale, dataset=dataset, sets=set_, seed=seed)
    if show:
        training.show(resolved)
        return
    training.train(
        resolved,
        runs=runs,
        root=data_root,
        device=device,
        precision=precision,
        compile_=compile_,
        threads=threads,
        checkpoint_seconds=checkpoint_seconds,
        monitor_points=monitor_points,
        tensorboard=tensorboard,
        as_json=json,
    )


@app.command("eval")
def eval_command(
    run: Annotated[
        str,
        typer.Argument(help="A run (folder, or start of its name), or another library's encoder."),
    ],
    protocol: Annotated[
        str, typer.Option(help="Comma-separated: knn, linear, linear.augmented, geometry.")
    ] = "knn,linear",
    dataset: o.Dataset = None,
    scale: Annotated[str, typer.Option(help="Scale of --dataset; default: the run's.")] = "",
    encoder: o.Encoder = None,
    heads: o.Heads = None,
    resolution: o.Resolution = None,
    normalization: o.Normalization = None,
    mean: o.Mean = None,
    std: o.Std = None,
    part: o.Part = None,
    positions: o.Positions = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Score again what is scored.")] = False,
    json: o.Json = False,
) -> None:
    """Score a run, or an encoder file of another library, under the versioned protocols."""
    from sslbench.cli import importing, scoring

    request = importing.FileRequest(
        encoder=encoder, heads=heads, resolution=resolution, normalization=normalization,
        mean=mean, std=std, part=part, positions=positions,
    )  # fmt: skip

    scoring.evaluate(
        run, protocols=protocol.split(","), dataset=dataset, scale=scale, request=request,
        runs=runs, root=data_root, device=device, threads=threads, force=force, as_json=json,
    )  # fmt: skip


@app.command()
def transfer(
    run: Annotated[str, typer.Argument(help="A run folder, or the start of its name.")],
    to: Annotated[str, typer.Option(help="Comma-separated data sets.")],
    protocol: Annotated[str, typer.Option(help="Comma-separated.")] = "knn,linear",
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Classification on other data sets with the frozen encoder."""
    from sslbench.cli import scoring

    scoring.transfer(
        run,
        to=to.split(","),
        protocols=protocol.split(","),
        runs=runs,
        root=data_root,
        device=device,
        threads=threads,
        as_json=json,
    )


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="A run folder, or the start of its name.")],
    run_b: Annotated[str, typer.Argument(help="Another.")],
    protocol: Annotated[str, typer.Option(help="One protocol.")] = "linear",
    dataset: Annotated[str | None, typer.Option(help="Data set of the scores.")] = None,
    runs: o.Runs = o.RUNS,
    json: o.Json = False,
) -> None:
    """Paired test of two runs on the same test images."""
    from sslbench.cli import scoring

    scoring.compare(run_a, run_b, protocol=protocol, dataset=dataset, runs=runs, as_json=json)


@app.command()
def ablate(
    tables: Annotated[list[str], typer.Argument(help="Tables, as `sslbench list tables` names.")],
    scale: o.Scale = "laptop",
    seeds: Annotated[int | None, typer.Option(help="Seeds a row; default: the scale's.")] = None,
    rows: Annotated[str | None, typer.Option(help="Comma-separated row ids; default: all.")] = None,
    dataset: o.Dataset = None,
    set_: o.Sets = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print runs, the finished ones, and the time.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Runs side by side (cores are divided).")] = 1,
    backend: Annotated[
        str,
        typer.Option(help="local, or ray for a cluster (extra `ray`; --device cuda: a GPU each)."),
    ] = "local",
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    results: Annotated[Path, typer.Option(help="Where measured tables are written.")] = o.RESULTS,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Train what a table lacks, score it, and print ours beside the published numbers."""
    from sslbench.cli import ablation

    ablation.ablate(
        tables,
        scale=scale,
        seeds=seeds,
        rows=rows.split(",") if rows else None,
        dataset=dataset,
        sets=set_,
        dry_run=dry_run,
        jobs=jobs,
        backend=backend,
        runs=runs,
        root=data_root,
        results=results,
        device=device,
        as_json=json,
    )


@app.command()
def report(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables (default: all); or runs: folder, start of names, folder of runs."
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="terminal, markdown or html; of tables also csv or latex."),
    ] = "terminal",
    scale: Annotated[str | None, typer.Option(help="Only this scale's results.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: reports/.")] = None,
    results: Annotated[Path, typer.Option(help="Where measured tables lie.")] = o.RESULTS,
    runs: o.Runs = o.RUNS,
    analyses: Annotated[
        Path, typer.Option(help="Figures of `sslbench analyze` for the end of the HTML page.")
    ] = Path("analyses"),
) -> None:
    """Measured tables, or one's own runs, for people: terminal, Markdown, one HTML page."""
    from sslbench.cli import reporting

    reporting.report(
        what, format_=format_, scale=scale, out=out, results=results, runs=runs,
        analyses=analyses,
    )  # fmt: skip


@app.command()
def check(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; default: all there.")] = None,
    against: Annotated[Path, typer.Option(help="The reference results.")] = o.RESULTS,
    scale: o.Scale = "smoke",
    seeds: Annotated[int | None, typer.Option(help="Seeds a row; default: the scale's.")] = None,
    set_: o.Sets = None,
    jobs: Annotated[int, typer.Option(help="Runs side by side.")] = 1,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Measure again and compare with the committed results; exit 1 on a regression."""
    from sslbench.cli import gate

    gate.check(
        tables,
        against=against,
        scale=scale,
        seeds=seeds,
        sets=set_,
        jobs=jobs,
        runs=runs,
        root=data_root,
        device=device,
        as_json=json,
    )


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run folder, or the start of its name.")],
    to: Annotated[str, typer.Option(help="torchvision or timm.")] = "torchvision",
    out: Annotated[
        Path | None, typer.Option(help="File; default: <run>/encoder.<to>.safetensors.")
    ] = None,
    runs: o.Runs = o.RUNS,
) -> None:
    """Write a run's encoder as safetensors with torchvision's or timm's key names."""
    from sslbench.cli import scoring

    scoring.export(run, to=to, out=out, runs=runs)
