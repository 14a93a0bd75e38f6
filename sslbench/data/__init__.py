"""Images in: `load` gives any data set as uint8 tensors, `fingerprint` says which one it is.

`DATASETS` has every set by name; one of your own is an entry more, whose reader gives a `Raw` of
two `Split`s. All but the registry is imported on first use, so that lists come without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sslbench.data.registry import DATASETS, DatasetInfo

if TYPE_CHECKING:
    from sslbench.data.dataset import Dataset, Raw
    from sslbench.data.fingerprints import fingerprint
    from sslbench.data.loading import load, unused_images
    from sslbench.data.split import Instances, Split
    from sslbench.data.streaming.images import Reader, Streamed

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetInfo",
    "Instances",
    "Raw",
    "Reader",
    "Split",
    "Streamed",
    "fingerprint",
    "load",
    "unused_images",
]

_HOMES = {
    "Dataset": "sslbench.data.dataset",
    "Raw": "sslbench.data.dataset",
    "Instances": "sslbench.data.split",
    "Split": "sslbench.data.split",
    "Reader": "sslbench.data.streaming.images",
    "Streamed": "sslbench.data.streaming.images",
    "fingerprint": "sslbench.data.fingerprints",
    "load": "sslbench.data.loading",
    "unused_images": "sslbench.data.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
