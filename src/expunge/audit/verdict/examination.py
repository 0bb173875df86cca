"""Which metrics a body of evidence allows, with how many models, against which null.

Values and their null use the same number of models on each side, m = min(models, oracles, half of
all oracles): KLoM falls with the number of models, so nothing else would be comparable.
"""

from expunge.audit.evidence.chunks import Array
from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import MADE_HERE
from expunge.audit.evidence.views import Concat, Slice, beside
from expunge.audit.metrics.distance import MIN_ORACLES
from expunge.audit.metrics.klom import hidden
from expunge.audit.metrics.overshoot import overshoot
from expunge.audit.verdict.judge import Measured, judge
from expunge.audit.verdict.summary import (
    Table,
    accuracy_table,
    distance_null_table,
    distance_table,
    error_table,
    klom_null,
    klom_table,
)

MIN_MODELS = 50  # on each side, for KLoM
STATISTIC = {"klom": "p95", "distance": "rms"}  # the number of a group that is judged


class Examination:
    """Measures the files of one body of evidence.

    Attributes:
        sizes: rows in each group.
        oracles: number of oracles.
        spare: number of oracles in the second group, 0 if there is none.
        originals: number of original models.
        models: number of models of each method.
        largest: the greatest number of models that KLoM uses on a side, None if it is not measured.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._oracle = evidence.margins(evidence.oracle)
        null = evidence.null
        self._pool = Concat([self._oracle, evidence.margins(null)], 0) if null else self._oracle
        self._nulls: dict[int, Table] = {}
        self.sizes = evidence.sizes
        self.oracles = len(self._oracle)
        self.spare = len(self._pool) - self.oracles
        self.originals = len(evidence.original["forget"])
        self.models = {name: len(file["forget"]) for name, file in evidence.unlearned.items()}
        used = [self.used(count) for count in (self.originals, *self.models.values())]
        self.largest = max((m for m in used if m is not None), default=None)

    def used(self, count: int) -> int | None:
        """How many of `count` models KLoM compares with as many oracles.

        Args:
            count: models of one file.

        Returns:
            m as above, or None if it is below 50.
        """
        m = min(count, self.oracles, len(self._pool) // 2)
        return m if m >= MIN_MODELS else None

    def null(self, m: int | None) -> Table:
        """Every metric among oracles.

        Args:
            m: models on each side for KLoM; None to leave KLoM out.

        Returns:
            The part `null` of the document; None for what cannot be measured.
        """
        distance = self.oracles >= MIN_ORACLES
        return {
            "klom": None if m is None else self._klom_null(m),
            "distance": distance_null_table(self._oracle, self.sizes) if distance else None,
            **self._quality(self._evidence.oracle, self._evidence.null),
        }

    def entry(self, file: Outputs) -> Table:
        """Every metric of the models of one file.

        Args:
            file: what they said.

        Returns:
            The measured part of an entry of the document; None for what cannot be measured. Where
            KLoM uses fewer models than the `largest` number, their own `null` stands beside.
        """
        values = self._evidence.margins(file)
        m = self.used(len(values))
        table: Table = {
            "models_used": m,
            "klom": None if m is None else klom_table(*self._first(m, values), self.sizes),
            "distance": distance_table(values, self._oracle, self.sizes)
            if self.oracles >= MIN_ORACLES
            else None,
            **self._quality(file),
        }
        return table | ({"null": self.null(m)} if m not in (None, self.largest) else {})

    def verdict(self, file: Outputs, entry: Table, original: Table, null: Table) -> Table:
        """Grade the models of one file.

        Args:
            file: what they said.
            entry: its `entry`, and with it the declared "changed" and "reason".
            original: the `entry` of the original models.
            null: the `null` that both share, unless they have their own.

        Returns:
            {verdict, verdict_metric, verdict_reasons, overshoot}.
        """
        both = [name for name in STATISTIC if entry[name] and original[name]]
        metric = both[0] if both else None
        past = self._overshoot(file)
        measured = {
            group: _measured(entry, entry.get("null", null), metric, group) for group in GROUPS
        }
        before = _measured(original, original.get("null", null), metric, "forget")
        judged = judge(
            measured,
            before,
            metric,
            entry["changed"],
            entry["reason"],
            overshoot=bool(past),
            hidden=self._hidden(file, entry["models_used"]) if metric == "klom" else (),
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
        why = {}
        counts = [("the original", self.originals), *self.models.items()]
        few = [f"{name} {n}" for name, n in counts if self.used(n) is None]
        have = f"there are {self.oracles} oracles and {self.spare} more for the null"
        if few:
            why["klom"] = (
                f"it needs at least {MIN_MODELS} models on each side and {2 * MIN_MODELS} oracles "
                f"in all; {have}; models of {', '.join(few)}"
            )
        if self.oracles < MIN_ORACLES:
            why["distance"] = f"it needs at least {MIN_ORACLES} oracles; there are {self.oracles}"
        if self.oracles < 2:
            why["overshoot"] = "it needs the spread of at least 2 oracles"
        name = self._quality_name()
        if self._evidence.kind not in MADE_HERE:
            why[name] = f"it is of classifications; the task's kind is {self._evidence.kind!r}"
        elif self._quality(self._evidence.original)[name] is None:
            why[name] = "it needs the outputs of all groups; the evidence holds margins"
        else:
            alone = [name for name, n in (*counts, ("the oracles", len(self._pool))) if n < 2]
            if alone:
                why[f"{name}.sd"] = f"a spread needs 2 models; there is 1 of {', '.join(alone)}"
        return why

    def _first(self, m: int, values: Array) -> tuple[Array, Array]:
        """As many models of both sides."""
        return Slice(values, range(m)), Slice(self._oracle, range(m))

    def _klom_null(self, m: int) -> Table:
        if m not in self._nulls:
            self._nulls[m] = klom_null(self._pool, m, self.sizes)
        return self._nulls[m]

    def _quality_name(self) -> str:
        return "error" if self._evidence.kind == "regression" else "accuracy"

    def _quality(self, *files: Outputs | None) -> Table:
        """{"error": ...} or {"accuracy": ...} of the models of all files together."""
        given = [file for file in files if file]
        name = self._quality_name()
        if name == "error":
            together = Concat([self._evidence.margins(file) for file in given], 0)
            return {name: error_table(together, self.sizes)}
        margins_alone = any(len(file[group].shape) == 2 for file in given for group in GROUPS)
        if self._evidence.kind != "classification" or margins_alone:
            return {name: None}
        outputs = [Concat([file[group] for file in given], 0) for group in GROUPS]
        return {name: accuracy_table(outputs, [self._evidence.targets[g] for g in GROUPS])}

    def _hidden(self, file: Outputs, m: int) -> list[str]:
        """Groups of which outliers hide more rows from KLoM than its 95th percentile looks past."""
        rows = hidden(*self._first(m, self._evidence.margins(file))).double().split(self.sizes)
        return [group for group, lost in zip(GROUPS, rows, strict=True) if lost.mean() > 0.05]

    def _overshoot(self, file: Outputs) -> bool | None:
        if self.oracles < 2:
            return None
        sides = (
            self._evidence.margins(file),
            self._evidence.margins(self._evidence.original),
            self._oracle,
        )
        ours, before, wanted = (beside(side, self.sizes)[0] for side in sides)
        return overshoot(ours, before, wanted, self._evidence.kind)


def _measured(entry: Table, null: Table, metric: str | None, group: str) -> Measured | None:
    if metric is None:
        return None
    key, cell = STATISTIC[metric], entry[metric][group]
    return Measured(cell[key], cell["se"], null[metric][group][key])
