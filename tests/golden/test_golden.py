"""Golden losses pin the numerics: five fp32 steps of every recipe, within 1e-4 relative.

`make golden` writes them anew. Losses that move mean new numerics: raise
`sslbench.engine.folder.NUMERICS` in the same commit and say why in the changelog.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sslbench.data import load
from sslbench.engine.folder import NUMERICS
from sslbench.engine.trainer import Trainer
from tests.tiny import DATA, TRAINED, tiny

GOLDEN = Path(__file__).with_name("losses.json")


def losses(recipe: str) -> list[float]:
    trainer = Trainer(tiny(recipe), load(DATA, root=Path("unused")), device=torch.device("cpu"))
    return [trainer.step().loss.item() for _ in range(5)]


@pytest.mark.parametrize("recipe", TRAINED)
def test_losses_are_the_golden_ones(recipe, request):
    if request.config.getoption("--update-golden"):
        known = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
        known = {k: v for k, v in known.items() if k in TRAINED} if known else {}
        entry = {"numerics": NUMERICS, **known, recipe: losses(recipe)}
        GOLDEN.write_text(json.dumps(entry, indent=1) + "\n")
        return
    golden = json.loads(GOLDEN.read_text())
    assert golden["numerics"] == NUMERICS
    assert losses(recipe) == pytest.approx(golden[recipe], rel=1e-4)
