"""How runs are judged: versioned protocols on frozen features, their scores, and paired tests.

Imported on first use, so that `sslbench.evaluation.protocols` comes without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbench.evaluation.comparing import Comparison, compare
    from sslbench.evaluation.evaluating import evaluate
    from sslbench.evaluation.foreign import FileOptions, import_encoder_file
    from sslbench.evaluation.knn import make_knn_monitor
    from sslbench.evaluation.scores import Score, comparable
    from sslbench.evaluation.transferring import transfer

__all__ = [
    "Comparison",
    "FileOptions",
    "Score",
    "comparable",
    "compare",
    "evaluate",
    "import_encoder_file",
    "make_knn_monitor",
    "transfer",
]

# No module has the name of a function here: importing it would put it in the function's place.
_HOMES = {
    "Comparison": "sslbench.evaluation.comparing",
    "FileOptions": "sslbench.evaluation.foreign",
    "Score": "sslbench.evaluation.scores",
    "comparable": "sslbench.evaluation.scores",
    "compare": "sslbench.evaluation.comparing",
    "evaluate": "sslbench.evaluation.evaluating",
    "import_encoder_file": "sslbench.evaluation.foreign",
    "make_knn_monitor": "sslbench.evaluation.knn",
    "transfer": "sslbench.evaluation.transferring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
