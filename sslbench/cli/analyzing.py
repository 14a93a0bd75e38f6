"""What the `analyze` commands do: open runs, apply an analysis to each, write and print."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from sslbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sslbench.data import Dataset
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.analyses import Analysis, Space
    from sslbench.evaluation.subject import Subject
    from sslbench.recipes.specs import Data

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Request:
    """The options that all analyses share, and the analyses."""

    names: list[str]
    dataset: str | None
    scale: str
    encoder: str | None
    resolution: int | None
    out: Path | None
    runs: Path
    root: Path
    device: str
    threads: int | None
    as_json: bool

    def similarity(self, *, space: str) -> None:
        """Positives and nearest negatives."""
        chosen = find_space(space)
        self._prepare()
        from sslbench.evaluation.analyses import analyze_similarity

        self._each(lambda subject: analyze_similarity(subject, space=chosen))

    def hypersphere(self, *, space: str | None) -> None:
        """Features on the circle."""
        chosen = None if space is None else find_space(space)
        if not self.names:
            raise UserError("Name a run, or give --all for every finished run.")
        self._prepare()
        from sslbench.evaluation.analyses import analyze_hypersphere

        self._each(lambda subject: analyze_hypersphere(subject, space=chosen))

    def landscape(self, *, match: str | None, protocol: str, space: str | None) -> None:
        """Alignment and uniformity against accuracy over the runs at hand."""
        if self.names or self.dataset:
            raise UserError("--all takes every finished run on its own data; name no run or data.")
        if space is not None and find_space(space) != "representation":
            raise UserError("--all reads the scores of representations; leave out --space.")
        self._prepare()
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.analyses import analyze_landscape

        folders = finished_runs(self.runs, match or "*")
        device = str(pick_device(self.device))
        analysis = analyze_landscape(folders, protocol=protocol, root=self.root, device=device)
        self._finish(analysis, Path("analyses"))

    def spectrum(self, *, space: str) -> None:
        """Singular values of the covariance."""
        chosen = find_space(space)
        self._prepare()
        from sslbench.evaluation.analyses import analyze_spectrum

        self._each(lambda subject: analyze_spectrum(subject, space=chosen), labelled=False)

    def coupling(self, *, batch_sizes: str | None, temperature: float | None) -> None:
        """The multiplier q_B by batch size."""
        sizes = numbers(batch_sizes, int, "--batch-sizes")
        self._prepare()
        from sslbench.evaluation.analyses import analyze_coupling

        self._each(
            lambda subject: analyze_coupling(subject, batch_sizes=sizes, temperature=temperature),
            labelled=False,
        )

    def sampling_bias(
        self,
        *,
        batch_sizes: str | None,
        class_prior: str | None,
        temperature: float | None,
        space: str,
    ) -> None:
        """False negatives, and the estimates of the negative term."""
        chosen = find_space(space)
        sizes = numbers(batch_sizes, int, "--batch-sizes")
        priors = numbers(class_prior, float, "--class-prior")
        self._prepare()
        from sslbench.evaluation.analyses import analyze_sampling_bias

        self._each(
            lambda subject: analyze_sampling_bias(
                subject, space=chosen, batch_sizes=sizes, class_priors=priors,
                temperature=temperature,
            )
        )  # fmt: skip

    def _prepare(self) -> None:
        from sslbench.engine.hardware import prepare_process

        prepare_process(self.threads)

    def _each(self, analyze: Callable[[Subject], Analysis], *, labelled: bool = True) -> None:
        """One analysis of all runs, written and printed."""
        from sslbench.evaluation.analyses import merge

        opened = {f.path.resolve(): (f, data) for f, data in map(self._open, self.names)}
        analyses = [analyze(subject) for subject in self._subjects(opened.values(), labelled)]
        (first, _), *others = opened.values()
        self._finish(merge(analyses), Path("analyses") if others else first.path / "analyses")

    def _open(self, name: str) -> tuple[RunFolder, Data | None]:
        """A run, and the data to look at it on; None is its own."""
        from sslbench.cli.options import parse_dataset
        from sslbench.cli.scoring import import_run, open_run

        if Path(name).is_file():
            folder = import_run(
                name, dataset=self.dataset, scale=self.scale, encoder=self.encoder,
                resolution=self.resolution, runs=self.runs, root=self.root,
            )  # fmt: skip
            return folder, None
        folder = open_run(name, self.runs)
        return folder, parse_dataset(self.dataset, self.scale or folder.experiment().scale)

    def _subjects(
        self, opened: Iterable[tuple[RunFolder, Data | None]], labelled: bool
    ) -> Iterator[Subject]:
        """The runs one after the other, which share loaded data where it is the same."""
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.evaluating import open_subject

        dataset: Dataset | None = None
        device = str(pick_device(self.device))
        for folder, data in opened:
            subject = open_subject(
                folder, data=data, root=self.root, device=device, dataset=dataset,
                labelled=labelled,
            )  # fmt: skip
            dataset = subject.dataset
            yield subject

    def _finish(self, analysis: Analysis, default: Path) -> None:
        from sslbench.reports.analyses import show_analysis, write_analysis

        files = [str(path) for path in write_analysis(analysis, self.out or default)]
        if self.as_json:
            summary = [{k: None if v != v else v for k, v in r.items()} for r in analysis.summary]
            plain: dict[str, Any] = {"analysis": analysis.name, "summary": summary}
            plain |= {"notes": analysis.notes, "files": files}
            typer.echo(json.dumps(plain, indent=1))
            return
        show_analysis(analysis)
        for path in files:
            typer.echo(path)


def find_space(text: str) -> Space:
    """The space of that name. Raises UserError."""
    if text == "representation":
        return "representation"
    if text == "projection":
        return "projection"
    known = ["representation", "projection"]
    raise UserError(f"--space: no '{text}'{did_you_mean(text, known)}")


def numbers(text: str | None, kind: Callable[[str], T], option: str) -> list[T] | None:
    """Comma-separated numbers; None where nothing was given. Raises UserError."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: write numbers with commas between.") from None


def finished_runs(runs: Path, match: str) -> list[RunFolder]:
    """Finished runs whose name fits the pattern, by name. Raises UserError when there are none."""
    from sslbench.engine.folder import RunFolder

    paths = sorted(runs.iterdir()) if runs.is_dir() else []
    folders = [RunFolder(path) for path in paths if fnmatch.fnmatch(path.name, match)]
    found = [folder for folder in folders if folder.status() == "finished"]
    if not found:
        raise UserError(f"No finished run '{match}' under {runs}; train one, or give --runs.")
    return found
