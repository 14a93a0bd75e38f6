"""Which rows of a stored table have other settings by now than they were measured with."""

from __future__ import annotations

from dataclasses import replace

from sslbench.engine.folder import NUMERICS
from sslbench.engine.place import folder_name
from sslbench.errors import UserError
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import Data
from sslbench.tables.cells import Request, cells
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import TABLES, load_table


def moved_rows(measured: MeasuredTable) -> tuple[str, ...]:
    """Ids of the rows and baselines of which a cell is of another run than the same command would
    make now: a recipe, its scale's setting or what a study found has changed since.

    Nothing is said of a table of older numerics, all of whose runs are others; of one whose
    definition is not at hand; and of data with a path of its own.
    """
    if measured.id not in TABLES or measured.numerics != NUMERICS or measured.scale not in SCALES:
        return ()
    runs = {
        (row.id, key): cell for row in (*measured.rows, *measured.baselines)
        for key, cell in row.cells.items() if cell.runs
    }  # fmt: skip
    moved: dict[str, None] = {}
    try:
        request = Request(measured.scale, measured.seeds[:1], _data(measured), measured.overrides)
        table = replace(load_table(measured.id), data=None)  # it was measured on the set it says
        for place, resolved in cells(table, request=request):
            name = folder_name(resolved.experiment, measured.fingerprint)
            cell = runs.get((place.row, place.column))
            if cell is not None and name not in cell.runs:
                moved.setdefault(place.row)
    except UserError:  # an override, say, of a field that is no more
        return tuple(dict.fromkeys(row for row, _ in runs))
    return tuple(moved)


def _data(measured: MeasuredTable) -> Data:
    scale = SCALES[measured.scale]
    own = scale.data.set_name == measured.dataset
    return scale.data if own else scale.dataset(measured.dataset)
