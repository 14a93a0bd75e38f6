"""Images in: `load` gives any data set as uint8 tensors, `fingerprint` says which one it is.

Both are imported on first use, so that `sslbench.data.registry` comes without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbench.data.dataset import Dataset, Split
    from sslbench.data.fingerprints import fingerprint
    from sslbench.data.loading import load

__all__ = ["Dataset", "Split", "fingerprint", "load"]

_HOMES = {
    "Dataset": "sslbench.data.dataset",
    "Split": "sslbench.data.dataset",
    "fingerprint": "sslbench.data.fingerprints",
    "load": "sslbench.data.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
