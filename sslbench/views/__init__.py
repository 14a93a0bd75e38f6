"""Views: images to augmented, normalised views, batched on their device.

`OPS` is the index: the operation that each name in `View.order` runs.
"""

from sslbench.views.augmenter import Augmenter, list_views, normalize
from sslbench.views.steps import OPS

__all__ = ["OPS", "Augmenter", "list_views", "normalize"]
