from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest

from sslbench import plugins
from sslbench.data.registry import ANNOTATIONS, DATASETS, function
from sslbench.errors import UserError
from sslbench.evaluation.protocols import (
    DEFAULTS,
    KNN,
    PROTOCOLS,
    TOP1,
    TOP5,
    Protocol,
    find_protocol,
    find_protocols,
    require,
    short_names,
)
from tests.own import PROTOCOL


def test_listing_them_imports_neither_torch_nor_faiss() -> None:
    code = (
        "import sys, sslbench.evaluation.protocols, sslbench.evaluation.scores;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'faiss', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_setting_but_what_names_it_enters_the_definition() -> None:
    for protocol in PROTOCOLS.values():
        for field in dataclasses.fields(protocol):
            changed = dataclasses.replace(protocol, **{field.name: "another"})
            same = field.name in ("summary", "short")
            assert (changed.definition == protocol.definition) == same


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda p: p.name)
def test_every_protocol_declares_what_it_takes_and_gives(protocol: Protocol) -> None:
    assert PROTOCOLS[protocol.name] is protocol
    assert callable(function(protocol.runner))
    assert not protocol.checker or callable(function(protocol.checker))
    assert protocol.needs <= set(ANNOTATIONS)
    keys = [value.key for value in protocol.values]
    assert keys and len(set(keys)) == len(keys)


def test_what_a_protocol_declares_does_not_enter_the_definition() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Told(KNN):
        needs = frozenset({"boxes"})
        values = ()
        runner = "elsewhere:run"

    assert Told(name="knn.v1", summary="").definition == PROTOCOLS["knn.v1"].definition


def test_what_a_data_set_lacks_is_refused_in_a_sentence() -> None:
    require(PROTOCOLS["knn.v1"], {"labels"}, dataset="shapes")
    with pytest.raises(
        UserError, match=r"knn.v1 needs labels, which data set 'flat' lacks; .*cifar10"
    ):
        require(PROTOCOLS["knn.v1"], DATASETS["flat"].annotations, dataset="flat")


def test_chance_of_five_guesses_is_at_most_certain() -> None:
    assert (TOP1.chance(10.0), TOP5.chance(10.0), TOP5.chance(25.0)) == (10.0, 50.0, 100.0)
    assert math.isnan(PROTOCOLS["geometry.v1"].values[0].chance(10.0))


# A changed definition needs a new version of the protocol: old scores keep their meaning.
@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("knn.v1", "ed32e3e18177"),
        ("linear.features.v1", "f0ad418db2e0"),
        ("linear.augmented.v1", "83274e0131fa"),
        ("linear.class-token.v1", "a5e8aba0a5a0"),
        ("linear.mean-token.v1", "a869ea18b32e"),
        ("linear.last-blocks.v1", "a6c27e2cbb80"),
        ("linear.projector.v1", "d59aee34ba70"),
        ("fewshot.v1", "55d85f877272"),
        ("fewshot.finetune.v1", "9eee66cd2aa7"),
        ("geometry.v1", "8116e4819957"),
        ("finetune.v1", "af9a8090d323"),
        ("finetune.mixed.v1", "e94f29453253"),
        ("finetune.partial.v1", "625ffa2499f8"),
        ("segmentation.linear.v1", "f29d7dbb1050"),
        ("segmentation.finetune.v1", "de1a0e6c65bd"),
        ("depth.v1", "677e961c83bd"),
        ("depth.previous.v1", "f504a8cbe7ff"),
        ("multilabel.svm.v1", "92317ec1accd"),
        ("detection.v1", "a756d55d4687"),
        ("detection.c4.v1", "e567d0d94789"),
        ("instance.v1", "f5584eb86633"),
    ],
)
def test_published_definitions_stay_as_they_are(name: str, definition: str) -> None:
    assert PROTOCOLS[name].definition == definition


def test_short_names_mean_known_versions() -> None:
    assert set(short_names().values()) == set(PROTOCOLS) >= set(DEFAULTS)
    assert find_protocol("linear").name == "linear.features.v1"
    assert find_protocol("linear.augmented").name == "linear.augmented.v1"


def test_a_short_name_means_the_last_version(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = dataclasses.replace(PROTOCOLS["linear.features.v1"], name="linear.features.v2")
    monkeypatch.setitem(PROTOCOLS, newer.name, newer)
    assert find_protocol("linear") is find_protocol("linear.features") is newer


def test_a_name_given_twice_is_one_protocol() -> None:
    assert [p.name for p in find_protocols(["knn", " linear", "knn.v1"])] == [
        "knn.v1",
        "linear.features.v1",
    ]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean 'knn"):
        find_protocol("kn")


def test_a_plugins_content_is_part_of_its_protocols_definition(plugin_file, monkeypatch):
    plugins.load([str(plugin_file(PROTOCOL))])
    mine, module = PROTOCOLS["brightness.v1"], "sslbench.plugins.mine"
    before, knn = mine.definition, PROTOCOLS["knn.v1"].definition
    changed = dataclasses.replace(plugins.LOADED[module], hash="0" * 16)
    monkeypatch.setitem(plugins.LOADED, module, changed)
    assert mine.definition != before
    assert PROTOCOLS["knn.v1"].definition == knn
