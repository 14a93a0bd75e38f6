from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from sslbench.tables.lecture import BEYOND, OTHER, place_of, table_order
from sslbench.tables.schema import DATA, load_table

NAMES = sorted(path.stem for path in DATA.glob("*.yaml"))


def test_every_table_has_exactly_one_place() -> None:
    assert Counter(table_order()) == Counter(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_lecture_shows_stands_under_its_sections_and_nothing_else(name: str) -> None:
    assert (place_of(name).section != BEYOND) == bool(load_table(name).lecture)


def test_the_lecture_begins_with_simclr_and_ends_with_masked_autoencoders() -> None:
    shown = [name for name in table_order() if place_of(name).section != BEYOND]
    assert (shown[0], shown[-1]) == ("simclr-augmentation-pairs", "mae-ade20k")
    assert shown == list(table_order())[: len(shown)]


def test_a_section_stands_in_one_piece() -> None:
    sections = [place_of(name).section for name in table_order()]
    changes = sum(a != b for a, b in pairwise(sections))
    assert changes == len(set(sections)) - 1


def test_a_table_of_ones_own_stands_last() -> None:
    own = place_of("mine")
    assert own.family == OTHER
    assert all(place_of(name) < own for name in NAMES)
