"""The two rules by which settings are chosen, both fixed before anything is scored.

oracle-free what a user can do, without any retrained model: the accuracy that retained and
validation rows lost against the original, plus twice the distance from 1/2 of the AUC of a loss
attack of forgotten rows against validation rows of their classes, plus the share of forgotten
rows that are still given a class of which nothing is retained (no retrained model knows it).
oracle with retrained models that do not judge: the mean of the three 95th percentiles of KLoM
where there are 50 of them, else the average gap in UA, RA, validation accuracy and MIA.
The group "test" of the evidence holds validation rows.
"""

import torch

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.metric import first
from expunge.bench.scores import GAPPED, columns


def oracle_free(file: Outputs, evidence: Evidence) -> float:
    """The score of a trial without oracles, in percentage points; smaller is better."""
    lost = sum(
        max(0.0, _mean(name, evidence.original, evidence) - _mean(name, file, evidence))
        for name in ("RA", "TA")
    )
    areas = columns()["loss AUC"].measure(file, evidence)["values"]
    told = sum(abs(area / 100 - 0.5) for area in areas) / len(areas)
    targets = evidence.targets["forget"]
    gone = torch.isin(targets, evidence.emptied)
    right = file["forget"][:].argmax(-1) == targets
    known = float(right[:, gone].double().mean()) if gone.any() else 0.0
    return lost + 100 * (2 * told + known)


def with_oracles(file: Outputs, evidence: Evidence) -> float:
    """The score of a trial with oracles that do not judge it; smaller is better.

    Infinite where outliers stretch the range of KLoM, which would then look perfect.
    """
    if not columns()["KLoM"].lacking(file, evidence):
        found = columns()["KLoM"].measure(file, evidence)
        return float("inf") if found["hidden"] else found["value"]
    oracle = first(evidence.oracle, len(file["forget"]))
    gaps = [abs(_mean(n, file, evidence) - _mean(n, oracle, evidence)) for n in GAPPED]
    return sum(gaps) / len(gaps)


def _mean(name: str, file: Outputs, evidence: Evidence) -> float:
    values = columns()[name].measure(file, evidence)["values"]
    return sum(values) / len(values)
