from __future__ import annotations

import numpy as np
import pytest

from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.kept import kept_arrays, kept_score, read_arrays
from tests.evaluation.analyses.hand_made import keep, split, with_test
from tests.tiny import tiny

WANTED = {"semantic": ("u", "N×H×W")}


@pytest.fixture
def own(tmp_path):
    run = pretrain(tiny("untrained"), provenance={}, runs=tmp_path / "runs", root=tmp_path)
    return with_test(open_subject(run, root=tmp_path), split(), tmp_path)


def test_the_first_protocol_with_a_score_is_taken(own):
    with pytest.raises(UserError, match=r"no score of a.v1 or b.v1 on 'shapes'; make one with"):
        kept_score(own, ["a.v1", "b.v1"])
    keep(own, "b.v1")
    assert kept_score(own, ["a.v1", "b.v1"]).protocol == "b.v1"


def test_a_score_of_another_encoder_is_none(own):
    keep(own, "a.v1")
    path = own.folder.encoder_path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="no score of a"):
        kept_score(own, ["a.v1"])


def test_the_sentence_has_the_command_that_makes_the_score(own):
    with pytest.raises(UserError) as caught:
        kept_score(own, ["a.v1"])
    assert f"`sslbench eval {own.folder.path} --protocol a.v1`" in str(caught.value)


def test_arrays_come_as_they_were_kept(own):
    maps = np.arange(4 * 256, dtype=np.uint8).reshape(4, 16, 16)
    keep(own, "a.v1", semantic=maps, more=np.zeros(3))
    assert np.array_equal(kept_arrays(own, "a.v1", WANTED)["semantic"], maps)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((3, 16, 16), np.uint8), "semantic is not N×H×W"),
        (np.zeros((4, 16), np.uint8), "semantic is not N×H×W"),
        (np.zeros((4, 16, 16)), "semantic is not N×H×W"),
        (np.zeros((400, 160, 160), np.uint8), "more than belongs"),
        (np.array([{}]), "ValueError|Object arrays"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(own, array, expected):
    keep(own, "a.v1", semantic=array)
    with pytest.raises(UserError, match=expected) as caught:
        kept_arrays(own, "a.v1", WANTED)
    assert "--force" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_array_and_an_absent_or_damaged_file_are_said(own):
    with pytest.raises(UserError, match="is missing or damaged"):
        kept_arrays(own, "a.v1", WANTED)
    keep(own, "a.v1", other=np.zeros(2))
    with pytest.raises(UserError, match="has no 'semantic'"):
        kept_arrays(own, "a.v1", WANTED)
    own.folder.predictions_path("shapes", "a.v1").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="is missing or damaged"):
        kept_arrays(own, "a.v1", WANTED)


def test_letters_are_one_size_throughout(own):
    keep(own, "a.v1", a=np.zeros(3), b=np.zeros((2, 4)))
    with pytest.raises(UserError, match="its b is not K×4"):
        kept_arrays(own, "a.v1", {"a": ("f", "K"), "b": ("f", "K×4")})


def test_what_is_read_is_limited(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000))
    with pytest.raises(ValueError, match="more than belongs"):
        read_arrays(tmp_path / "a.npz", {"a": None}, limit=1000)
