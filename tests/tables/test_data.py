"""Facts that hold for every table."""

from __future__ import annotations

import re

import pytest

from sslbench.recipes.resolve import find_scale, resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import ImageSet
from sslbench.tables.cells import (
    Request,
    cells,
    measured_columns,
    resolve_baseline,
    resolve_cell,
)
from sslbench.tables.judging import published_values, renaming
from sslbench.tables.predicates import judge
from sslbench.tables.schema import Table, find_cell, load_table, table_names

TABLES = {name: load_table(name) for name in table_names()}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))


@every_table
def test_file_name_is_the_id(table: Table) -> None:
    assert TABLES[table.id] is table


@every_table
def test_rows_are_the_same_on_every_data_set(table: Table) -> None:
    """A row of another data set is the run of its counterpart, less what that set asks for."""
    stems = {d: {r.stem for r in table.rows if r.dataset == d} for d in table.datasets}
    assert len(set(map(frozenset, stems.values()))) <= 1
    for dataset in table.datasets:
        request = Request("cifar", (0,), data=ImageSet(name=dataset, resolution=32))
        rows = {p.row for p, _ in cells(table, request=request)}
        assert {r.id for r in table.rows if r.dataset == dataset} <= rows


@every_table
def test_a_column_of_another_protocol_has_values_to_show_beside_ours(table: Table) -> None:
    for column in table.columns:
        if column.protocol:
            assert column.metric is not None and column.derive is None
            assert any(column.key in row.paper for row in table.rows)


@every_table
@pytest.mark.parametrize("scale", SCALES)
def test_a_swept_axis_keeps_its_rows_apart(table: Table, scale: str) -> None:
    """Rows along an axis are different runs at every scale, in the order of the axis."""
    fitting = table.rows_on(find_scale(scale).data.set_name)
    rows = [row for row in fitting if not row.not_trainable and "batch" in row.key]
    sizes: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        for column in measured_columns(table, row):
            recipe = resolve_cell(table, row, column, request=Request(scale, (0,)))
            rest = {k: v for k, v in row.key.items() if k != "batch"}
            batch = recipe.experiment.recipe.batch_size
            sizes.setdefault(f"{column.key} {rest}", []).append((row.key["batch"], batch))
    for pairs in sizes.values():
        mapped = [batch for _, batch in sorted(pairs)]
        assert mapped == sorted(set(mapped)), pairs


@every_table
def test_changes_of_a_row_are_its_layer_and_no_other(table: Table) -> None:
    """A row moves the fields it names, against the same cell without the row's change."""
    for row in table.rows:
        for column in measured_columns(table, row)[:1]:
            changed = resolve_cell(table, row, column, request=Request("paper", (0,)))
            layer = f"row {row.id}"
            named = {path for path, origin in changed.provenance.items() if origin == layer}
            patterns = [path.replace("*.", "") for path in row.set]
            for path in named:
                flat = path.replace("views.first.", "views.").replace("views.second.", "views.")
                flat = flat.replace("views.common.", "views.")
                heads = [p.replace("views.first.", "views.").replace("views.second.", "views.")
                         for p in patterns]  # fmt: skip
                assert any(flat == h or flat.startswith(f"{h}.") for h in heads), path


# Sentences that the printed values contradict: table, claim, and the data set where there are more.
CONTRADICTED = {
    ("dcl-batch-size", "dcl-steadier", "cifar100"),
    ("dcl-batch-size", "gap-shrinks-with-batch", "cifar100"),
    ("dcl-batch-size", "gap-shrinks-at-every-step", "cifar100"),
}


@every_table
def test_claims_hold_on_the_published_values_or_say_that_they_do_not(table: Table) -> None:
    """On those of every data set of the table, unless they are about one."""
    values = published_values(table)
    for claim in table.claims:
        for dataset in (claim.dataset,) if claim.dataset else table.datasets or ("",):
            about = claim if claim.dataset else claim.renamed(renaming(table, dataset))
            if about.published is None:
                continue
            verdict = judge(about.published, values)
            if (table.id, claim.id, dataset) in CONTRADICTED:
                assert verdict.outcome == "not held" and claim.note
            else:
                assert verdict.outcome == "held", f"{claim.id} {dataset}: {verdict.detail}"


@every_table
def test_claims_of_a_table_of_several_sets_name_the_first(table: Table) -> None:
    """They are judged on the set measured; a row of another would be moved there too."""
    sets = {row.id: row.dataset for row in table.rows if row.dataset}
    for claim in table.claims:
        named = {sets.get(find_cell(table, name)[0]) for name in claim.operands()} - {None}
        assert named <= {claim.dataset or table.datasets[0]} if named else True, claim.id


@every_table
def test_claims_without_a_published_form_say_why_and_can_be_measured(table: Table) -> None:
    for claim in table.claims:
        assert claim.published is not None or (claim.words and claim.ours is not None)


@every_table
def test_every_published_value_says_where_it_is_from(table: Table) -> None:
    for row in table.rows:
        assert row.source or not row.paper


@every_table
def test_accuracies_are_percentages(table: Table) -> None:
    for row in table.rows:
        for key, value in row.paper.items():
            if value is not None and table.column(key).value.unit == "%":
                assert 0 <= value <= 100


def test_a_baseline_that_tables_share_is_one_run() -> None:
    digests = {}
    for name in ("byol-target", "byol-augmentations", "leaderboard"):
        request = Request("laptop", (0,))
        digests[name] = {r.experiment.digest() for _, r in cells(TABLES[name], request=request)}
    byol = resolve("byol", scale="laptop").experiment.digest()
    assert all(byol in found for found in digests.values())


def test_untrained_is_the_encoder_of_the_tables_base() -> None:
    found = resolve_baseline(TABLES["debiased-stl10"], "untrained", request=Request("cifar", (0,)))
    assert found.experiment.recipe.encoder.arch == "resnet50"
    assert found.experiment.recipe.epochs == 0


def test_byol_beta_without_negatives_has_the_size_of_byols_own_loss() -> None:
    """Both average over two directions, so -s / temperature times the scale must be -4 s."""
    table = TABLES["byol-beta"]
    objective = table.set["objective"]
    own = resolve("byol", scale="paper").experiment.recipe.objective
    assert objective["scale"] / objective["temperature"] == pytest.approx(own.scale)


def test_augmentation_pairs_apply_the_rows_transform_first() -> None:
    table = TABLES["simclr-augmentation-pairs"]
    resolved = resolve_cell(
        table, table.row("rotate"), table.column("color"), request=Request("laptop", (0,))
    )
    views = resolved.experiment.recipe.views
    assert views.first.order[0] == "rotate"
    assert views.first.rotate == 1.0 and views.first.jitter is not None
    assert views.first.crop is None and views.common is not None and views.common.crop is not None
    assert views.second is not None and views.second.jitter is None


def test_blur_rows_do_not_bring_blur_back_where_the_scale_has_none() -> None:
    table = TABLES["byol-augmentations"]
    column = table.column("byol")
    for scale, blurred in (("laptop", False), ("paper", True)):
        row = resolve_cell(table, table.row("symmetric"), column, request=Request(scale, (0,)))
        views = row.experiment.recipe.views
        assert (views.first.blur is not None) == blurred
        assert views.first.solarize == 0.2


def test_accumulation_keeps_the_images_of_an_update() -> None:
    table = TABLES["byol-batch-size"]
    sizes = set()
    for row in table.rows:
        cell = resolve_cell(table, row, table.column("byol"), request=Request("paper", (0,)))
        recipe = cell.experiment.recipe
        sizes.add(recipe.batch_size * recipe.accumulate)
    assert sizes == {4096}


def test_dinos_comparison_trains_each_method_as_long_as_its_published_run() -> None:
    table = TABLES["dino-linear-knn"]
    made = cells(table, request=Request("paper", (0,)))
    found = {place.row: resolved.experiment.recipe for place, resolved in made}
    epochs = {"byol-vit": 300, "moco-v2-vit": 800, "swav-vit": 800, "dino": 800}
    assert {name: found[name].epochs for name in epochs} == epochs
    views = found["deepcluster-v2"].views
    assert views.local is not None
    assert (views.first.size, views.num_local, views.local.size) == (224, 6, 96)
    assert (views.first.crop.scale, views.local.crop.scale) == ((0.14, 1.0), (0.05, 0.14))


def test_the_grid_of_alignment_and_uniformity_splits_batch_norm_in_four() -> None:
    table = TABLES["align-uniform-imagenet100-grid"]
    for scale in SCALES:
        for place, made in cells(table, request=Request(scale, (0,))):
            if place.row in {row.id for row in table.rows}:
                assert made.experiment.recipe.batch_norm.splits == 4


@pytest.mark.parametrize("dataset", ["shapes", "cifar10"])
def test_simsiams_optimal_setting_goes_with_the_base_that_a_small_scale_has(dataset: str) -> None:
    """Its study moves, and what stands for the published pair must move with it."""
    table = TABLES["simsiam-transfer"]
    for scale in ("smoke", "laptop", "desktop"):
        request = Request(scale, (0,), data=find_scale(scale).dataset(dataset))
        base, optimal = (
            resolve_cell(table, table.row(row), table.column("det_ap"), request=request)
            for row in ("simsiam-base", "simsiam-optimal")
        )
        a, b = base.experiment.recipe.optimizer, optimal.experiment.recipe.optimizer
        assert (b.lr, b.weight_decay) == (a.lr, pytest.approx(a.weight_decay / 10))


def test_detection_is_judged_where_the_objects_are_and_printed_as_published() -> None:
    """Columns of VOC, COCO, ADE20K and NYU have no values of ours; ours are of scenes."""
    for table in TABLES.values():
        for column in table.columns:
            if re.match(r"(VOC|COCO|NYU|Places|iNat|mIoU ViT|AP (box|mask) ViT)", column.name):
                assert column.metric is None, f"{table.id}: {column.name}"
            if column.name.startswith("scenes"):
                assert "scenes" in (column.on, table.data), f"{table.id}: {column.name}"
                assert not any(column.key in row.paper for row in table.rows)
