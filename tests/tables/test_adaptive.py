from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sslbench.api.tables import TableHandle
from sslbench.engine.hardware import device_class, pick_device
from sslbench.errors import Interrupted, UserError
from sslbench.reports.check import check
from sslbench.reports.company import company
from sslbench.requests import GridRequest
from sslbench.tables.adaptive import Budget, Due, Growing, decide, ended
from sslbench.tables.grid import Plan, run
from sslbench.tables.jobs import Job, Tell
from sslbench.tables.judging import claim_results
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table, parse_table
from tests.tables.fakes import TABLE, accuracy, finish, use

Places = dict[str, Path]
CLAIMS = [
    {"id": "far", "says": "...", "published": {"greater": ["fast", "copy"]},
     "ours": {"greater": ["fast", "copy"]}},
    {"id": "near", "says": "...", "holds": {"greater": ["baseline", "fast"]}},
    {"id": "even", "says": "...", "words": "ours", "ours": {"greater": ["copy", "untrained"]}},
]  # fmt: skip
# By row: what a seed adds. The baseline's first seeds spread wide; the copy is the untrained
# encoder's equal, so that nothing ever decides between them.
NOISE = {60.0: [5, -6, 1, 0, 0, 0, 0, 0], 50.0: [1, -1, 0, 0, 0, 1, -1, 0],
         11.0: [1, -1] * 4, 20.0: [-10, -8] * 4}  # fmt: skip


@pytest.fixture
def table() -> Table:
    return parse_table({**TABLE, "claims": CLAIMS}, where="test")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs without training; the list has the row's accuracy and seed of each."""
    done: list[str] = []

    def execute(job: Job, tell: Tell) -> None:
        mean, seed = accuracy(job), job.experiment.seed
        done.append(f"{mean:g}-{seed}")
        finish(job, top1=mean + NOISE.get(mean, [0] * 12)[seed] - 0.1 * seed)

    use(monkeypatch, execute)
    return done


def growing(table: Table, places: Places, most: int = 8) -> Growing:
    request = GridRequest.of([table], scale="smoke", seeds=None, rows=None, dataset=None,
                             changes=None, **places)  # fmt: skip
    [found] = request.growing(
        first=None, most=most, results=places["runs"] / "results", device="cpu"
    )
    return found


def go(
    growing: Growing,
    places: Places,
    *,
    minutes: float | None = None,
    train: Callable[[Plan], list[str]] | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> tuple[MeasuredTable | None, list[str]]:
    """Until it ends: the table, and what was told."""

    def usual(plan: Plan) -> list[str]:
        return plan.faults(run(plan, root=places["root"]))

    told: list[str] = []
    decide(
        growing, budget=Budget(minutes, clock), jobs=1, train=train or usual, tell=told.append,
        keep=lambda _: None,
    )  # fmt: skip
    return growing.measured, told


def counts(measured: MeasuredTable) -> Mapping[str, int]:
    return {
        row.id: row.cells["top1"].n
        for row in (*measured.rows, *measured.baselines)
        if row.cells["top1"].n
    }


def test_seeds_are_added_to_the_rows_of_undecided_claims_alone(
    table: Table, places: Places, trained: list[str]
) -> None:
    measured, told = go(growing(table, places), places)
    assert measured is not None
    # "near" was decided at 5 seeds; "even" never.
    assert counts(measured) == {"baseline": 5, "fast": 5, "copy": 8, "untrained": 8,
                                "raw-pixels": 1}  # fmt: skip
    assert {c.id: c.ours for c in measured.claims} == {
        "far": "held", "near": "held", "even": "undecided"
    }  # fmt: skip
    assert len(trained) == len(set(trained)) == 5 + 5 + 8 + 8 + 1
    assert told == [
        "small: look 1 of 3 (3 seeds): 13 runs.",
        "small: look 2 of 3 (5 seeds) for near, even: 8 runs.",
        "small: look 3 of 3 (8 seeds) for even: 6 runs.",
        "small: 1 undecided after look 3 of 3 (8 seeds): even.",
    ]


def test_cells_with_fewer_seeds_are_whole(table: Table, places: Places, trained: list[str]) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None and measured.complete and measured.seeds == tuple(range(8))
    assert not any(cell.note for row in measured.rows for cell in row.cells.values())
    fact = company(measured)["seeds"]
    assert fact.endswith("looked at 3, 5, 8; planned: 3, 5, 8")


def test_json_keeps_every_look(
    table: Table, places: Places, trained: list[str], tmp_path: Path
) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None
    measured.save(tmp_path / "small.json")
    assert MeasuredTable.load(tmp_path / "small.json") == measured
    plain = json.loads((tmp_path / "small.json").read_text())
    assert plain["planned"] == [3, 5, 8]
    looks = plain["looks"]
    assert [(look["seeds"], look["undecided"]) for look in looks] == [
        (3, ["near", "even"]), (5, ["even"]), (8, ["even"])
    ]  # fmt: skip
    assert sum(look["alpha"] for look in looks) == pytest.approx(0.05)
    assert [claim["ours"] for claim in looks[0]["claims"]] == ["held", "undecided", "undecided"]
    assert "(3 seeds)" in looks[2]["claims"][0]["detail"]
    assert looks[0]["minutes"] < looks[2]["minutes"] == pytest.approx(measured.minutes)


def test_a_file_from_before_there_were_looks_reads(
    table: Table, places: Places, trained: list[str], tmp_path: Path
) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None
    plain = {k: v for k, v in measured.to_dict().items() if k not in ("looks", "planned")}
    (tmp_path / "old.json").write_text(json.dumps(plain))
    assert MeasuredTable.load(tmp_path / "old.json").looks == ()


@pytest.mark.parametrize("planned", [[], [5, 3, 8], [3, 5, 9], [0, 5, 8], [3, 5]])
def test_a_file_whose_looks_are_not_planned_is_refused(
    table: Table, places: Places, trained: list[str], tmp_path: Path, planned: list[int]
) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None
    path = tmp_path / "small.json"
    path.write_text(json.dumps(measured.to_dict() | {"planned": planned}))
    with pytest.raises(UserError, match="planned"):
        MeasuredTable.load(path)


def test_asking_again_trains_nothing_and_finds_the_same(
    table: Table, places: Places, trained: list[str]
) -> None:
    first, _ = go(growing(table, places), places)
    before = len(trained)
    again, told = go(growing(table, places), places)
    assert len(trained) == before and again == first and len(told) == 1


def test_who_is_interrupted_goes_on_where_it_stopped(
    table: Table, places: Places, trained: list[str]
) -> None:
    def stopped(plan: Plan) -> list[str]:
        if trained:
            half = dataclasses.replace(plan, runs=plan.todo[:4])
            run(half, root=places["root"])
            raise Interrupted("Stopped.")
        return plan.faults(run(plan, root=places["root"]))

    one = growing(table, places)
    with pytest.raises(Interrupted):
        go(one, places, train=stopped)
    assert len(one.looks) == 1 and len(trained) == 13 + 4
    measured, told = go(growing(table, places), places)
    assert len(trained) == len(set(trained)) == 27
    assert told[0] == "small: look 2 of 3 (5 seeds) for near, even: 4 runs."
    assert measured is not None and len(measured.looks) == 3


def test_what_was_decided_is_not_reopened_by_seeds_that_another_claim_asked_for(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is above chance by three seeds and far below it by eight."""
    claims = [{"id": "above", "says": "...", "words": "ours", "ours": {"greater": ["copy", 10]}},
              CLAIMS[2]]  # fmt: skip
    table = parse_table({**TABLE, "claims": claims}, where="test")

    def execute(job: Job, tell: Tell) -> None:
        mean, seed = accuracy(job), job.experiment.seed
        value = (20.0 if seed < 3 else -20.0) + seed % 2 if mean == 11 else mean + 9 * (-1) ** seed
        finish(job, top1=value - 0.1 * seed)

    use(monkeypatch, execute)
    measured, _ = go(growing(table, places), places)
    assert measured is not None and measured.cell("copy", "top1").n == 8
    above = measured.claims[0]
    assert above.ours == "held" and "(3 seeds)" in above.detail
    assert claim_results(table, measured) == measured.claims  # the file alone says so too


def test_a_budget_that_fits_no_run_is_refused_before_training(
    table: Table, places: Places, trained: list[str]
) -> None:
    with pytest.raises(UserError, match=r"look 1 of 3.*--budget-minutes"):
        go(growing(table, places), places, minutes=0.01)
    with pytest.raises(UserError, match="above 0"):
        Budget(0, lambda: 0.0)
    assert trained == []


def test_a_look_that_does_not_fit_is_not_begun(
    table: Table, places: Places, trained: list[str]
) -> None:
    seconds = iter([0.0, 0.0, 3590.0])
    measured, told = go(growing(table, places), places, minutes=60, clock=lambda: next(seconds))
    assert measured is not None and len(measured.looks) == 1 and len(trained) == 13
    assert "look 2 of 3 (5 seeds) takes about" in told[1] and "not begun" in told[1]
    assert told[2] == "small: 2 undecided after look 1 of 3 (3 seeds): near, even."


def test_the_next_look_says_what_it_costs(table: Table, places: Places, trained: list[str]) -> None:
    one = growing(table, places)
    due = one.due()
    assert isinstance(due, Due) and due.name == "look 1 of 3 (3 seeds)" and not due.undecided
    run(due.plan, root=places["root"])
    one.look()
    due = one.due()
    assert due is not None and due.undecided == ("near", "even")
    assert due.seeds == {"baseline": 5, "fast": 5, "copy": 5, "untrained": 5}
    assert len(due.plan.todo) == 8 and due.plan.seconds > 0


def test_a_table_whose_claims_are_decided_at_once_ends_there(
    places: Places, trained: list[str]
) -> None:
    table = parse_table({**TABLE, "claims": CLAIMS[:1]}, where="test")
    one = growing(table, places)
    measured, _ = go(one, places)
    assert measured is not None and len(measured.looks) == 1
    assert ended(one) == "small: no claim is undecided after look 1 of 3 (3 seeds)."


def test_rows_that_are_one_run_have_one_number_of_seeds(places: Places, trained: list[str]) -> None:
    twin = {"id": "twin", "label": "twin", "set": {"views.*.blur": None}}
    table = parse_table(
        {**TABLE, "claims": CLAIMS[1:2], "rows": [*TABLE["rows"], twin]}, where="test"
    )
    measured, _ = go(growing(table, places, most=5), places)
    assert measured is not None
    assert {row: n for row, n in counts(measured).items() if n > 3} == {
        "baseline": 5, "fast": 5, "twin": 5
    }  # fmt: skip
    assert len(trained) == len(set(trained)) == 13 + 4


def test_a_claim_that_seeds_cannot_decide_asks_for_none(
    table: Table, places: Places, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"near": frozenset[str]()}
    monkeypatch.setattr("sslbench.tables.adaptive.open_rows", lambda *_: found)
    _, told = go(growing(table, places), places)
    assert len(trained) == 13
    assert told[-1] == "small: 1 undecided after look 1 of 3 (3 seeds): near."


@pytest.mark.parametrize(
    "claims",
    [
        [],
        [{"id": "x", "says": "", "published": {"greater": ["fast", 1]}, "ours": None}],
    ],
)
def test_a_table_without_a_claim_to_judge_is_refused(
    claims: list[dict[str, Any]], places: Places
) -> None:
    for claim in claims:
        claim.pop("ours")
    table = parse_table({**TABLE, "claims": claims}, where="test")
    if claims:  # its published form is ours too, unless words stand for it
        claim = dataclasses.replace(table.claims[0], ours=None)
        table = dataclasses.replace(table, claims=(claim,))
    with pytest.raises(UserError, match="has no claim that can be judged on shapes"):
        growing(table, places)


def test_a_plan_is_not_changed_once_it_was_looked_at(
    table: Table, places: Places, trained: list[str]
) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None
    folder = places["runs"] / "results" / "smoke" / device_class(pick_device("cpu"))
    measured.save(folder / "small.json")
    growing(table, places)
    with pytest.raises(UserError, match=r"begun with looks at 3, 5, 8 .*--max-seeds 8"):
        growing(table, places, most=12)


def test_python_adds_seeds_too(table: Table, places: Places, trained: list[str]) -> None:
    handle = TableHandle(table)
    asked: dict[str, Any] = {**places, "scale": "smoke", "results": places["runs"] / "results"}
    frame = handle.measure(until_decided=True, max_seeds=5, progress=False, **asked)
    assert frame["top1", "n"].to_dict()["baseline"] == 5
    assert handle.measured is not None and handle.measured.planned == (3, 5)
    assert MeasuredTable.load(Path(frame.attrs["file"])) == handle.measured
    with pytest.raises(UserError, match="go with until_decided=True"):
        handle.measure(max_seeds=5, **asked)
    with pytest.raises(UserError, match="give in `seeds` how many"):
        handle.measure(until_decided=True, seeds=[0, 2], **asked)


def test_check_compares_tables_of_unequal_seeds(
    table: Table, places: Places, trained: list[str]
) -> None:
    measured, _ = go(growing(table, places), places)
    assert measured is not None
    report = check([measured], [measured])
    assert report.ok and {cell.reference_n for cell in report.cells} >= {1, 5, 8}


def test_seeds_are_pairs_where_the_table_says_so(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds spread by ten points, alike in both rows."""

    def execute(job: Job, tell: Tell) -> None:
        seed = job.experiment.seed
        small = 0.2 * seed if accuracy(job) == 50 else 0.0
        finish(job, top1=accuracy(job) + 10 * seed + small)

    use(monkeypatch, execute)
    claims = [CLAIMS[1]]
    alone = parse_table({**TABLE, "claims": claims}, where="test")
    pairs = parse_table({**TABLE, "claims": claims, "paired": "same views."}, where="test")
    apart, _ = go(growing(alone, places, most=3), places)
    together, _ = go(growing(pairs, places, most=3), places)
    assert apart is not None and apart.claims[0].ours == "undecided"
    assert together is not None and together.claims[0].ours == "held"
    assert "Claims compare rows seed by seed: same views." in together.notes
