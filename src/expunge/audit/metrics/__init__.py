"""Metrics of models: arrays in, numbers out, one file a metric, one line here.

An audit and a benchmark are two lists of these, over the same evidence.
"""

from collections.abc import Mapping
from typing import Any, cast

from expunge.audit.metrics import accuracy as _accuracy
from expunge.audit.metrics import attack as _attack
from expunge.audit.metrics import class_threshold as _class_threshold
from expunge.audit.metrics import distance as _distance
from expunge.audit.metrics import klom_table as _klom_table
from expunge.audit.metrics import nearer as _nearer
from expunge.audit.metrics import relearn as _relearn
from expunge.audit.metrics import risk as _risk
from expunge.audit.metrics import svc_mia as _svc_mia
from expunge.audit.metrics import ulira as _ulira
from expunge.audit.metrics import zrf as _zrf
from expunge.audit.metrics.metric import Metric as Metric
from expunge.registry import Fault, Registry


def _faults(metric: Any) -> list[Fault]:
    if isinstance(metric, Metric):
        return []
    return [Fault("it is no Metric", "Write METRIC = expunge.Metric(...)")]


_OURS: tuple[Any, ...] = (
    _klom_table.METRIC,
    _distance.METRIC,
    _accuracy.ACCURACY,
    _accuracy.ERROR,
    _accuracy.UA,
    _accuracy.RA,
    _accuracy.TA,
    _svc_mia.PUBLISHED,
    _svc_mia.BALANCED,
    _attack.LOSS,
    _attack.ENTROPY,
    _attack.MODIFIED_ENTROPY,
    _class_threshold.METRIC,
    _risk.METRIC,
    _zrf.METRIC,
    _relearn.METRIC,
    _ulira.ACCURACY,
    _ulira.TPR_1,
    _ulira.TPR_01,
    _nearer.METRIC,
)
METRICS = cast("Mapping[str, Metric]", Registry("metric", *_OURS, faults=_faults))
TABLES = ("klom", "distance", "accuracy", "error")  # of an audit, by group of rows
