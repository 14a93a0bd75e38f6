"""What a table's column can measure: "<protocol>:<value>", or "run:<value>" of the run itself."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.errors import did_you_mean
from sslbench.evaluation.protocols import PROTOCOLS, Value, short_names
from sslbench.typed import refusal

# Of the run: of its last log point (what every objective measures, among them), or its cost.
RUN_VALUES: dict[str, Value] = {
    value.key: value
    for value in (
        Value(key="final_loss"),
        Value(key="loss"),
        Value(key="loss_std", better="lower"),
        Value(key="std"),
        Value(key="std_ratio"),
        Value(key="effective_rank"),
        Value(key="out_dim"),
        Value(key="knn", unit="%", better="higher"),
        Value(key="knn_dips", unit="points", better="lower"),
        Value(key="minutes", unit="min", better="lower"),
        Value(key="step_ms", unit="ms", better="lower"),
        Value(key="gflops", unit="GFLOPs", better="lower"),
        Value(key="train_accuracy", unit="%", better="higher"),
        Value(key="contrastive_accuracy", unit="%", better="higher"),
        Value(key="augmentation_accuracy", unit="%", better="higher"),
        Value(key="contrastive_entropy", unit="nats"),
        Value(key="coupling"),
        Value(key="coupling_variation"),
        Value(key="positive_similarity"),
        Value(key="bank_similarity"),
        Value(key="positive_posterior"),
        Value(key="noise_posterior"),
        Value(key="alignment", better="lower"),
        Value(key="uniformity", better="lower"),
        Value(key="correlation_diagonal"),
        Value(key="correlation_off_diagonal"),
        Value(key="teacher_entropy", unit="nats"),
        Value(key="divergence", unit="nats"),
        Value(key="assignment_entropy", unit="nats"),
        Value(key="prototypes_used", unit="%"),
        Value(key="dense_similarity"),
        Value(key="dense_accuracy", unit="%", better="higher"),
        Value(key="overlap_share", unit="%"),
        Value(key="hidden_share", unit="%"),
        Value(key="images_with_boxes", unit="%"),
        Value(key="codes_used", unit="%"),
        Value(key="code_perplexity"),
    )
}


OF_MACHINE = ("run:minutes", "run:step_ms")  # other on another machine, or beside other work


def protocol_of(metric: str | None) -> str | None:
    """The protocol part, such as "linear.features.v1"; None for what is of the run itself, and
    for no metric."""
    protocol = (metric or "run").partition(":")[0]
    return None if protocol == "run" else protocol


def find_value(metric: str, where: str) -> Value:
    """What a metric measures.

    Raises:
        UserError: with the nearest names, a protocol, version or value that is not measured:
            before anything is trained for it.
    """
    protocol, _, key = metric.partition(":")
    if protocol == "run":
        values: Mapping[str, Value] = RUN_VALUES
    elif protocol in PROTOCOLS:
        values = {value.key: value for value in PROTOCOLS[protocol].values}
    else:
        full = short_names().get(protocol)
        hint = f"; did you mean '{full}'?" if full else did_you_mean(protocol, PROTOCOLS)
        raise refusal(where, f"no protocol '{protocol}' in the metric '{metric}'{hint}")
    if key not in values:
        raise refusal(where, f"{protocol} measures no '{key}'{did_you_mean(key, values)}")
    return values[key]
