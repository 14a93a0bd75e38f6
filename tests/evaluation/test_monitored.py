"""The kNN monitor joins training where the data has labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options
from sslbench.evaluation.monitored import pretrain_monitored
from tests.tiny import DATA, tiny


def train(folder: Path, **more: object) -> RunFolder:
    places = {"provenance": {}, "runs": folder, "root": folder}
    return pretrain_monitored(tiny("simsiam", epochs=1), options=Options(), **places, **more)


def test_a_run_on_labelled_data_has_a_knn_curve(tmp_path: Path) -> None:
    assert train(tmp_path).knn_curve()


def test_a_run_on_data_without_labels_has_none(tmp_path: Path) -> None:
    data = load(DATA, root=tmp_path)
    bare = replace(data, train=replace(data.train, labels=None))
    assert not train(tmp_path, dataset=bare).knn_curve()


def test_a_finished_run_is_found_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tmp_path)
    monkeypatch.setattr("sslbench.evaluation.monitored.load", lambda *_, **__: pytest.fail("loads"))
    assert train(tmp_path).path == first.path
