"""What a representation looks like: the numbers behind the pictures of the papers.

Each module holds pure functions of tensors and one that applies them to a run (`Subject`) and
returns an `Analysis`: a summary to print, and the points that a figure draws. Images, views and
geometry are those of the `geometry.v1` protocol, so that equal quantities are equal numbers.
"""

from __future__ import annotations

from sslbench.evaluation.analyses.analysis import Analysis, Space, merge
from sslbench.evaluation.analyses.attention import analyze_attention
from sslbench.evaluation.analyses.coupling import analyze_coupling
from sslbench.evaluation.analyses.hypersphere import analyze_hypersphere
from sslbench.evaluation.analyses.landscape import analyze_landscape
from sslbench.evaluation.analyses.neighbours import analyze_neighbours
from sslbench.evaluation.analyses.per_class import analyze_per_class
from sslbench.evaluation.analyses.predictions import analyze_predictions
from sslbench.evaluation.analyses.prototypes import analyze_prototypes
from sslbench.evaluation.analyses.reconstruction import analyze_reconstruction
from sslbench.evaluation.analyses.sampling_bias import analyze_sampling_bias
from sslbench.evaluation.analyses.similarity import analyze_similarity
from sslbench.evaluation.analyses.spectrum import analyze_spectrum
from sslbench.evaluation.analyses.stability import analyze_stability

__all__ = [
    "Analysis",
    "Space",
    "analyze_attention",
    "analyze_coupling",
    "analyze_hypersphere",
    "analyze_landscape",
    "analyze_neighbours",
    "analyze_per_class",
    "analyze_predictions",
    "analyze_prototypes",
    "analyze_reconstruction",
    "analyze_sampling_bias",
    "analyze_similarity",
    "analyze_spectrum",
    "analyze_stability",
    "merge",
]
