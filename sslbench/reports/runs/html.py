"""One's own runs as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslbench.reports.embedded import embedded_figures
from sslbench.reports.html import cells_view, figure_group, page_template
from sslbench.reports.runs.curves import group_curves, group_fits, joint_curves, joint_fits
from sslbench.reports.runs.view import (
    KEPT,
    LEGEND,
    RUN_HEADINGS,
    SCORE_HEADINGS,
    GroupView,
    ReportView,
    describe,
    figure_folders,
)

MAX_DRAWN = 40  # groups with plots; the others keep their numbers


def html_page(report: ReportView, *, analyses: Path | None = None) -> str:
    """The page: scores side by side, curves, then each group with its facts, curves and figures.

    Args:
        analyses: a folder of figures of `sslbench analyze` of several runs, for the end.
    """
    tables = [{"table": t, "line": describe(t), **cells_view(t)} for t in report.scores]
    figures = [_figures(g, drawn=i < MAX_DRAWN) for i, g in enumerate(report.groups)]
    caption, images = ("", []) if analyses is None else embedded_figures([("", analyses)])
    joint = (joint_curves(report.groups), joint_fits(report.groups))
    page = page_template("runs.html.j2").render(
        groups=list(zip(report.groups, figures, strict=True)),
        tables=tables,
        joint=[group for group in joint if group["title"]],
        analyses=[figure_group("", caption, images)] if images or caption else [],
        steps=report.steps,
        remarks=report.remarks,
        legend=LEGEND,
        kept=KEPT,
        run_headings=RUN_HEADINGS,
        score_headings=SCORE_HEADINGS,
    )
    return page + "\n"


def _figures(shown: GroupView, *, drawn: bool) -> list[dict[str, Any]]:
    if not drawn:
        sentence = f"Curves and figures are drawn for the first {MAX_DRAWN} recipes of a page; "
        return [figure_group("Training", sentence + "name this one's runs to see them.", [])]
    images = figure_group("Analyses", *embedded_figures(figure_folders(shown.group)))
    curves = (group_curves(shown), group_fits(shown))
    return [g for g in (*curves, images) if g["plots"] or g["caption"]]
