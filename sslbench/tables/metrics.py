"""What a table's column can measure: "<protocol>:<value>", or "run:<value>" of the run itself."""

from __future__ import annotations

from sslbench.errors import did_you_mean
from sslbench.evaluation.protocols import CURRENT, PROTOCOLS
from sslbench.typed import refusal

# Of the run: of its last log point (what every objective measures, among them), or its time.
RUN_VALUES = (
    "final_loss", "loss", "loss_std", "std", "std_ratio", "effective_rank", "out_dim", "knn",
    "knn_dips", "minutes", "train_accuracy",
    "contrastive_accuracy", "contrastive_entropy", "coupling", "coupling_variation",
    "positive_similarity", "bank_similarity", "positive_posterior", "noise_posterior",
    "alignment", "uniformity", "correlation_diagonal", "correlation_off_diagonal",
    "teacher_entropy", "divergence", "assignment_entropy", "prototypes_used",
)  # fmt: skip


def require_metric(metric: str, where: str) -> None:
    """Raise UserError, with the nearest names, for a protocol, version or value that is not
    measured: before anything is trained for it."""
    protocol, _, value = metric.partition(":")
    if protocol == "run":
        values: tuple[str, ...] = RUN_VALUES
    elif protocol in PROTOCOLS:
        values = PROTOCOLS[protocol].VALUES
    else:
        full = CURRENT.get(protocol)
        hint = f"; did you mean '{full}'?" if full else did_you_mean(protocol, PROTOCOLS)
        raise refusal(where, f"no protocol '{protocol}' in the metric '{metric}'{hint}")
    if value not in values:
        raise refusal(where, f"{protocol} measures no '{value}'{did_you_mean(value, values)}")
