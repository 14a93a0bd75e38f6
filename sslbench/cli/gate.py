"""`check`: measure again and compare with the committed results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from sslbench.cli.ablation import execute, grid_request
from sslbench.cli.options import require_jobs
from sslbench.cli.reporting import load_results
from sslbench.errors import RunFailed, UserError
from sslbench.recipes.resolve import find_scale


def check(
    tables: Sequence[str] | None,
    *,
    against: Path,
    scale: str,
    seeds: int | None,
    sets: Sequence[str] | None,
    jobs: int,
    runs: Path,
    root: Path,
    device: str,
    as_json: bool,
) -> None:
    """Exit 1 when a reported number regressed beyond the seeds' own spread.

    Seeds are samples, not pairs: the reference may come from another CPU. Where several device
    classes have a reference, this device's own is taken, else any. Tables of another data set than
    the scale's own are left out: their data may not be here.
    """
    from sslbench.data import fingerprint
    from sslbench.engine.hardware import device_class, pick_device
    from sslbench.reports.check import check as compare
    from sslbench.reports.check import require_same_request
    from sslbench.reports.terminal import show_check
    from sslbench.tables.results import on_own_data

    require_jobs(jobs)
    found = [t for t in load_results(against, tables=tables, scale=scale) if on_own_data(t)]
    mine = device_class(pick_device(device))
    by_table = {t.id: t for t in sorted(found, key=lambda t: t.device_class == mine)}
    request = grid_request(
        list(by_table), scale=scale, seeds=seeds, dataset=None, sets=sets, runs=runs, root=root
    )
    data = fingerprint(request.data or find_scale(scale).data, root=root)
    for table in by_table.values():  # before hours of training, not after
        require_same_request(table, request.overrides, data)
    failed = execute(request.plan(), root=root, jobs=jobs, device=device)
    if failed:
        raise RunFailed("Runs failed, so nothing was compared: " + "; ".join(failed))
    outcome = compare(request.measure(), list(by_table.values()))
    if as_json:
        typer.echo(json.dumps(outcome.to_dict(), indent=1))
    else:
        show_check(outcome)
    if not outcome.cells:
        raise UserError(f"The results under {against} have no cells to compare.")
    raise typer.Exit(outcome.exit_code)
