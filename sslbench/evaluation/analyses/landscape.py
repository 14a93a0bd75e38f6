"""Alignment and uniformity against accuracy, over all runs at hand."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from sslbench.data import Dataset, load
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import GEOMETRY, Analysis, Record
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.protocols import TOP1, find_protocol
from sslbench.recipes.specs import Data


def analyze_landscape(
    folders: Sequence[RunFolder],
    *,
    protocol: str = "linear",
    root: Path,
    device: str = "cpu",
) -> Analysis:
    """A line a run: alignment, uniformity and top-1 accuracy of its representation, each on the
    run's own data. Scores are read; those that lack are measured and kept beside the run.

    Args:
        folders: runs; those that cannot be scored are left out, and a note says why.
        protocol: of the accuracy.
        root: where data sets lie.
        device: of encoder and probe.
    Raises:
        UserError: the protocol gives no accuracy, or no run could be scored.
    Source: Wang and Isola 2020, arXiv:2005.10242, Fig. 5 (306 encoders of STL-10).
    """
    chosen = find_protocol(protocol)
    name = chosen.name
    if TOP1 not in chosen.values:
        raise UserError(f"{name} gives no accuracy; use --protocol linear or knn.")
    loaded = functools.lru_cache(maxsize=1)(functools.partial(load, root=root))
    summary: list[Record] = []
    left_out: list[str] = []
    for folder in sorted(folders, key=_data_order):
        try:
            data: Data = folder.experiment().data
            dataset: Dataset = loaded(data)
            scores = evaluate(
                folder, [GEOMETRY.name, name], root=root, device=device, dataset=dataset
            )
        except UserError as error:
            left_out.append(f"{folder.path.name} is left out: {error}")
            continue
        geometry = scores[GEOMETRY.name].values
        summary.append(
            {
                "run": folder.path.name,
                "dataset": f"{dataset.name} {dataset.fingerprint[:6]}",
                "kind": _kind(folder),
                "alignment": geometry["alignment"],
                "uniformity": geometry["uniformity"],
                "top1": scores[name].values["top1"],
            }
        )
    if not summary:
        raise UserError("No run could be scored. " + " ".join(left_out[:1]))
    sets = dict.fromkeys(record["dataset"] for record in summary)
    notes = [_agreement([r for r in summary if r["dataset"] == d], name) for d in sets]
    return Analysis(name="landscape", summary=summary, notes=notes + left_out)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN below three points or where one side is constant."""
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def _agreement(records: Sequence[Record], protocol: str) -> str:
    alignment, uniformity, top1 = (
        [record[key] for record in records] for key in ("alignment", "uniformity", "top1")
    )
    if len(records) < 3:
        return f"{records[0]['dataset']}: too few encoders for a rank correlation."
    return (
        f"{records[0]['dataset']}: over {len(records)} encoders the rank correlation of {protocol} "
        f"with alignment is {rank_correlation(alignment, top1):+.2f}, with uniformity "
        f"{rank_correlation(uniformity, top1):+.2f} (both are losses: lower is better)."
    )


def _data_order(folder: RunFolder) -> str:
    """Runs on the same data follow each other, and share it."""
    return str(folder.summary().get("fingerprint"))


def _kind(folder: RunFolder) -> str:
    recipe = folder.experiment().recipe
    if recipe.epochs == 0:
        return "not trained here"
    return "supervised" if recipe.needs_labels else "self-supervised"
