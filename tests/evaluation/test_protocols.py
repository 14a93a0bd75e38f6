from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from sslbench.errors import UserError
from sslbench.evaluation.protocols import CURRENT, PROTOCOLS, find_protocol, find_protocols


def test_listing_them_imports_neither_torch_nor_faiss() -> None:
    code = (
        "import sys, sslbench.evaluation.protocols, sslbench.evaluation.scores;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'faiss', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_setting_but_the_summary_enters_the_definition() -> None:
    for protocol in PROTOCOLS.values():
        for field in dataclasses.fields(protocol):
            changed = dataclasses.replace(protocol, **{field.name: "another"})
            assert (changed.definition == protocol.definition) == (field.name == "summary")


# A changed definition needs a new version of the protocol: old scores keep their meaning.
@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("knn.v1", "ed32e3e18177"),
        ("linear.features.v1", "f0ad418db2e0"),
        ("linear.augmented.v1", "83274e0131fa"),
        ("geometry.v1", "8116e4819957"),
    ],
)
def test_published_definitions_stay_as_they_are(name: str, definition: str) -> None:
    assert PROTOCOLS[name].definition == definition


def test_short_names_mean_known_versions() -> None:
    assert set(CURRENT.values()) == set(PROTOCOLS)
    assert find_protocol("linear").name == "linear.features.v1"


def test_a_name_given_twice_is_one_protocol() -> None:
    assert [p.name for p in find_protocols(["knn", " linear", "knn.v1"])] == [
        "knn.v1",
        "linear.features.v1",
    ]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean 'knn"):
        find_protocol("kn")
