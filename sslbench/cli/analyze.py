"""`analyze`: the pictures of the contrastive papers, from any finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslbench.cli import options as o
from sslbench.cli.analyzing import Request

app = typer.Typer(
    help="Pictures of a representation, with their numbers: similarity, spectrum and others.",
    no_args_is_help=True,
)

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run (folder, or start of its name), or another library's encoder."
    ),
]
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="Runs (folder, or start of a name), or another library's encoders."
    ),
]
SomeRuns = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN...]", help="As elsewhere; none with --all.")
]
Space = Annotated[
    str, typer.Option(help="representation (h, the encoder's) or projection (z, the projector's).")
]
BatchSizes = Annotated[
    str | None, typer.Option(help="Comma-separated; default: 32 to 1024, as far as images last.")
]
Temperature = Annotated[float | None, typer.Option(help="Default: the run's own.")]
Scale = Annotated[str, typer.Option(help="Scale of --dataset; default: the run's.")]
Encoder = Annotated[
    str | None,
    typer.Option(help="For an encoder file: resnet18, resnet50, resnet18-small, vit-small-16…"),
]
Resolution = Annotated[
    int | None, typer.Option(help="For an encoder file: input side; default: the data's.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write; default: analyses/ in the run's folder, or here for several runs."
    ),
]


@app.command()
def similarity(
    names: Runs,
    space: Space = "projection",
    dataset: o.Dataset = None,
    scale: Scale = "",
    encoder: Encoder = None,
    resolution: Resolution = None,
    out: Out = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Cosines of positives and of the ten nearest negatives; tolerance (2012.09740, Fig. 8)."""
    request = Request(
        names, dataset, scale, encoder, resolution, out, runs, data_root, device, threads, json
    )
    request.similarity(space=space)


@app.command()
def hypersphere(
    names: SomeRuns = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Instead, all finished runs: both losses and accuracy.")
    ] = False,
    match: Annotated[
        str | None, typer.Option(help="As --all, of the runs whose name fits, e.g. 'simclr-*'.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="Accuracy of --all: linear or knn.")] = "linear",
    space: Annotated[
        str | None,
        typer.Option(
            help="representation or projection; default: the projection where it has two "
            "dimensions, otherwise the representation."
        ),
    ] = None,
    dataset: o.Dataset = None,
    scale: Scale = "",
    encoder: Encoder = None,
    resolution: Resolution = None,
    out: Out = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Features on the circle by class; alignment and uniformity (2005.10242, Figs. 3 and 5)."""
    request = Request(
        names or [],
        dataset,
        scale,
        encoder,
        resolution,
        out,
        runs,
        data_root,
        device,
        threads,
        json,
    )
    if all_ or match:
        request.landscape(match=match, protocol=protocol, space=space)
    else:
        request.hypersphere(space=space)


@app.command()
def spectrum(
    names: Runs,
    space: Space = "projection",
    dataset: o.Dataset = None,
    scale: Scale = "",
    encoder: Encoder = None,
    resolution: Resolution = None,
    out: Out = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Singular values of the covariance, effective rank, collapse (2110.09348, Fig. 2)."""
    request = Request(
        names, dataset, scale, encoder, resolution, out, runs, data_root, device, threads, json
    )
    request.spectrum(space=space)


@app.command()
def coupling(
    names: Runs,
    batch_sizes: BatchSizes = None,
    temperature: Temperature = None,
    dataset: o.Dataset = None,
    scale: Scale = "",
    encoder: Encoder = None,
    resolution: Resolution = None,
    out: Out = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Negative-positive coupling q_B of the projections by batch size (2110.06848, Fig. 1)."""
    request = Request(
        names, dataset, scale, encoder, resolution, out, runs, data_root, device, threads, json
    )
    request.coupling(batch_sizes=batch_sizes, temperature=temperature)


@app.command("sampling-bias")
def sampling_bias(
    name: Run,
    batch_sizes: BatchSizes = None,
    class_prior: Annotated[
        str | None,
        typer.Option(help="What debiasing assumes, comma-separated; default: the labels' share."),
    ] = None,
    temperature: Temperature = None,
    space: Space = "projection",
    dataset: o.Dataset = None,
    scale: Scale = "",
    encoder: Encoder = None,
    resolution: Resolution = None,
    out: Out = None,
    runs: o.Runs = o.RUNS,
    data_root: o.DataRoot = o.DATA,
    device: o.Device = "auto",
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """False negatives by batch size, and what debiasing changes (2007.00224, Figs. 1 and 2)."""
    request = Request(
        [name], dataset, scale, encoder, resolution, out, runs, data_root, device, threads, json
    )
    request.sampling_bias(
        batch_sizes=batch_sizes, class_prior=class_prior, temperature=temperature, space=space
    )
