"""All metrics of a body of evidence, each beside its null, and the verdict on each method."""

from collections.abc import Iterator
from functools import cache, cached_property

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics import METRICS, TABLES, Metric, klom_table
from expunge.audit.metrics.metric import Score, first, summarised
from expunge.audit.metrics.overshoot import overshoot
from expunge.audit.verdict.judge import Measured, judge

STATISTIC = {"klom": "p95", "distance": "rms"}  # the number of a group that is judged
SHARES = ("UA", "RA", "TA")  # an audit has them in its table of accuracies


class Examination:
    """Measures the files of one body of evidence.

    Attributes:
        single: names of the other metrics.
        tables: names of the metrics by group of rows that fit the kind of task, KLoM first.
        largest: the greatest number of models that KLoM uses on a side, None if it is not measured.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.named = {"the original": evidence.original, **evidence.unlearned}
        self.single = tuple(name for name in METRICS if name not in (*TABLES, *SHARES))
        self.tables = tuple(name for name in TABLES if METRICS[name].fits(evidence))
        used = (klom_table.used(file, evidence) for file in self.named.values())
        self.largest = max((m for m in used if m is not None), default=None)
        self.klom_null = cache(lambda m: klom_table.null(evidence, m))

    @cached_property
    def null(self) -> Score:
        """Every metric among oracles; None for what cannot be measured."""
        oracle = self.evidence.oracle
        single = {
            name: summarised(METRICS[name].null(self.evidence))
            for name in self.single
            if not METRICS[name].lacking(oracle, self.evidence)
        }
        return {**self._null_tables(self.largest), "metrics": single}

    def entry(self, file: Outputs) -> Score:
        """Every metric of the models of one file: the measured part of an entry of the document.

        Where KLoM uses fewer models than the `largest` number, their own `null` stands beside.
        """
        m = klom_table.used(file, self.evidence)
        entry: Score = {"models_used": m}
        for name in self.tables:
            absent = METRICS[name].lacking(file, self.evidence)
            entry[name] = None if absent else METRICS[name].measure(file, self.evidence)
        entry["metrics"] = {
            name: summarised(METRICS[name].measure(first(file, METRICS[name].most), self.evidence))
            for name in self.single
            if not METRICS[name].lacking(file, self.evidence)
        }
        return entry | ({"null": self._null_tables(m)} if m not in (None, self.largest) else {})

    def verdict(self, file: Outputs, entry: Score, original: Score) -> Score:
        """Grade the models of one file.

        Args:
            file: what they answered.
            entry: its `entry`, and with it the declared "changed" and "reason".
            original: the `entry` of the original models.

        Returns:
            {verdict, verdict_metric, verdict_reasons, overshoot}.
        """
        both = [name for name in STATISTIC if entry[name] and original[name]]
        metric = both[0] if both else None
        past = self._overshoot(file)
        measured = {
            group: _measured(entry, entry.get("null", self.null), metric, group) for group in GROUPS
        }
        before = _measured(original, original.get("null", self.null), metric, "forget")
        judged = judge(
            measured,
            before,
            metric,
            entry["changed"],
            entry["reason"],
            overshoot=bool(past),
            hidden=klom_table.hidden_groups(file, self.evidence) if metric == "klom" else (),
        )
        reasons = list(judged.reasons)
        if entry["klom"] and metric == "distance":
            reasons.append("KLoM was not measured for the original, so the distance decides.")
        return {
            "verdict": judged.verdict,
            "verdict_metric": metric,
            "verdict_reasons": reasons,
            "overshoot": past,
        }

    def not_measured(self) -> dict[str, str]:
        """Why metrics are missing for some or all models: name of the metric -> reason."""
        named = {*self.tables, *self.single} if {*self.tables} & {"accuracy", "error"} else METRICS
        wanted = [name for name in (*TABLES, *self.single) if name in named]
        why = {name: "; ".join(self._reasons(METRICS[name])) for name in wanted}
        oracles = len(self.evidence.oracle["forget"])
        if oracles < 2:
            why["overshoot"] = "it needs the spread of at least 2 oracles"
        counts = {name: len(file["forget"]) for name, file in self.named.items()}
        alone = [name for name, n in counts.items() if n < 2]
        alone += ["the oracles"] if len(self.evidence.pool) < 2 else []
        for name in ("accuracy", "error"):
            if alone and why.get(name) == "":
                why[f"{name}.sd"] = f"a spread needs 2 models; there is 1 of {', '.join(alone)}"
        return {name: reason for name, reason in why.items() if reason}

    def _reasons(self, metric: Metric) -> Iterator[str]:
        """Each reason once, with those that it holds for unless it holds for all."""
        reasons: dict[str, list[str]] = {}
        for name, file in self.named.items():
            reasons.setdefault(metric.lacking(file, self.evidence), []).append(name)
        for reason, names in reasons.items():
            if reason:
                yield reason if len(reasons) == 1 else f"{reason} ({', '.join(names)})"

    def _null_tables(self, m: int | None) -> Score:
        """Tables of the oracles; KLoM with m models on each side."""
        tables: Score = {"klom": self.klom_null(m)}
        for name in self.tables[1:]:
            absent = METRICS[name].lacking(self.evidence.oracle, self.evidence)
            tables[name] = None if absent else METRICS[name].null(self.evidence)
        return tables

    def _overshoot(self, file: Outputs) -> bool | None:
        if len(self.evidence.oracle["forget"]) < 2:
            return None
        sides = file, self.evidence.original, self.evidence.oracle
        ours, before, wanted = (self.evidence.margins(side, "forget") for side in sides)
        return overshoot(ours, before, wanted, self.evidence.kind)


def _measured(entry: Score, null: Score, metric: str | None, group: str) -> Measured | None:
    if metric is None:
        return None
    key, cell = STATISTIC[metric], entry[metric][group]
    return Measured(cell[key], cell["se"], null[metric][group][key])
