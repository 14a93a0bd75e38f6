"""What the `analyze` commands share: they open runs, analyze each, write and print the outcome.

No `from __future__ import annotations` here; command.py says why.
"""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli import options as o
from sslbench.cli.encoder_file import Opener
from sslbench.errors import UserError
from sslbench.files import entries

if TYPE_CHECKING:
    from sslbench.data import Dataset
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.analyses import Analysis
    from sslbench.evaluation.subject import Subject
    from sslbench.recipes.specs import Data

HERE = Path("analyses")  # of several runs, and the name of the folder inside one run's


@dataclass(frozen=True, kw_only=True)
class Picture(Opener, o.Device, o.Threads, o.Json):
    """The options that all analyses share, and how they are met."""

    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write; default: analyses/ in the run's folder, or here for several."
        ),
    ] = None

    def each(
        self,
        names: Sequence[str],
        analyze: "Callable[[Subject], Analysis]",
        *,
        labelled: bool = True,
    ) -> None:
        """One analysis of all runs, written and printed."""
        from sslbench.evaluation.analyses import merge

        opened = {f.path.resolve(): (f, data) for f, data in map(self.open, names)}
        analyses = [analyze(subject) for subject in self._subjects(opened.values(), labelled)]
        self.finish(merge(analyses), [folder for folder, _ in opened.values()])

    def finish(self, analysis: "Analysis", folders: "Sequence[RunFolder]") -> None:
        """Write an analysis of some runs, and print it."""
        from sslbench.reports.analyses import show_analysis, write_analysis

        default = folders[0].path / HERE if len(folders) == 1 else HERE
        files = [str(path) for path in write_analysis(analysis, self.out or default)]
        if self.json:
            summary = [{k: None if v != v else v for k, v in r.items()} for r in analysis.summary]
            plain: dict[str, Any] = {"analysis": analysis.name, "summary": summary}
            plain |= {"notes": analysis.notes, "files": files}
            self.print_json(plain)
            return
        show_analysis(analysis)
        for path in files:
            typer.echo(path)

    def finished(self, match: str) -> "list[RunFolder]":
        """Finished runs whose name fits the pattern, by name. Raises UserError: there are none."""
        from sslbench.engine.folder import RunFolder

        paths = [path for path in entries(self.runs) if fnmatch.fnmatch(path.name, match)]
        folders = [RunFolder(path) for path in paths]
        found = []
        for folder in folders:
            try:
                found += [folder] * (folder.status() == "finished")
            except UserError as error:  # a damaged run does not stop the others
                typer.echo(f"sslbench: {error}", err=True)
        if not found:
            raise UserError(
                f"No finished run '{match}' under {self.runs}; train one, or give --runs."
            )
        return found

    def _subjects(
        self, opened: "Iterable[tuple[RunFolder, Data | None]]", labelled: bool
    ) -> "Iterator[Subject]":
        """The runs one after the other, which share loaded data where it is the same."""
        from sslbench.evaluation.evaluate import open_subject

        dataset: Dataset | None = None
        for folder, data in opened:
            subject = open_subject(
                folder, data=data, root=self.data_root, device=self.pick_device(),
                dataset=dataset, labelled=labelled,
            )  # fmt: skip
            dataset = subject.dataset
            yield subject
