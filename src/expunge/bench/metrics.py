"""The metrics of a benchmark: what each is called, how it is measured, and which way it is read."""

from typing import NamedTuple


class Metric(NamedTuple):
    """One column.

    Attributes:
        unit: of its numbers.
        what: in plain words.
        members: models that it needs on each side.
    """

    unit: str
    what: str
    members: int = 1


METRICS: dict[str, Metric] = {
    "UA": Metric("%", "forgotten rows that are now answered wrongly"),
    "RA": Metric("%", "retained rows answered rightly"),
    "TA": Metric("%", "test rows answered rightly (without classes that are forgotten whole)"),
    "MIA": Metric(
        "%", "forgotten rows that an SVC on the confidence calls non-members, as published"
    ),
    "MIA balanced": Metric(
        "%", "the same with equal groups, on the margin, each half judged by the other"
    ),
    "loss AUC": Metric(
        "%", "chance that a forgotten row has a smaller loss than a test row of its classes"
    ),
    "entropy AUC": Metric("%", "the same with the entropy of the answer"),
    "m-entropy AUC": Metric("%", "the same with the modified entropy (Song and Mittal)"),
    "m-entropy by class": Metric(
        "%",
        "forgotten rows that thresholds for each class, from a retrained model, call members",
        2,
    ),
    "privacy risk": Metric(
        "%", "how probable the modified entropy makes it that forgotten rows were trained on", 2
    ),
    "ZRF": Metric("%", "likeness to an untrained model on forgotten rows"),
    "relearn": Metric("epochs", "epochs of 500 rows until the forgotten rows' loss is back"),
    "U-LiRA": Metric("%", "accuracy of an attack with shadow models of its own for each row", 10),
    "U-LiRA TPR@1%": Metric("%", "its true positive rate at 1 % false positives", 10),
    "U-LiRA TPR@0.1%": Metric("%", "its true positive rate at 0.1 % false positives", 10),
    "KLoM": Metric("nats", "95th percentiles over rows: forget, retain, test and their mean", 50),
}
GAPPED = ("UA", "RA", "TA", "MIA")  # averaged into the average gap, as in the published tables
