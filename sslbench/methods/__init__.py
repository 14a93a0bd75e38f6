"""How encoder, heads, target and objective meet: one forward per family of recipes."""

from __future__ import annotations

from sslbench.methods.joint_embedding import JointEmbedding
from sslbench.methods.output import StepOutput, mean_output
from sslbench.methods.supervised import Supervised

__all__ = ["JointEmbedding", "StepOutput", "Supervised", "mean_output"]
