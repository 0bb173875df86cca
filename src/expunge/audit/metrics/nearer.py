"""Nearer: whether unlearned models are nearer to retrained models than to the originals.

Models are compared in triples of an unlearned model, an oracle and an original. A forgotten row
votes for the oracle if the unlearned margin is nearer to the oracle's margin than to the
original's. A triple's number is the share of rows that vote so; the value is their mean.

The test is a sign test. Null hypothesis: a further unlearned model has more than half of the votes
for a further oracle with probability at most 1/2. Under it the number of triples that vote for the
oracle is at most binomial, so that the p-value is exact for any number of models, rows and any
dependence between rows. The triples must be independent, and no model is therefore in two of them.
An unlearned model depends on the original that it was made from: the unlearned models are those of
the first half of the numbers, the originals those of the second half.
Error rate: p <= alpha with probability at most alpha under the null. With n triples the smallest
p-value is 2^-n.
What it hides: nearer is not near. A model half way is neither, and one that is nearer to the
oracles may still differ from them; KLoM or distance answer that.
Source: of this package; the sign test is Arbuthnott's (1710).
"""

from math import comb

from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.margin import check_margins
from expunge.audit.metrics.metric import MARGINS, NULL, Metric, Need, Score, models, of_second
from expunge.errors import BadInput

MIN_MODELS = 10  # five triples, whose smallest p-value is 1/32


def votes(unlearned: Tensor, oracle: Tensor, original: Tensor) -> Tensor:
    """The share of rows of each triple on which the first model is nearer to the second.

    A row that is equally near to both counts as half.

    Args:
        unlearned: (triples, rows) margins.
        oracle: (triples, rows) margins.
        original: (triples, rows) margins.

    Returns:
        (triples,) shares from 0 to 1, float64.

    Raises:
        BadInput: shapes that differ, no rows, or a margin that is not finite.
    """
    check_margins(unlearned, oracle)
    check_margins(original, oracle)
    if not len(unlearned) == len(oracle) == len(original) or not unlearned.shape[1]:
        raise BadInput(
            f"{len(unlearned)}, {len(oracle)} and {len(original)} models, "
            f"{unlearned.shape[1]} rows",
            expected="as many models of each, at least one row",
            fix="cut all three to the same number of models",
        )
    ours, wanted, before = (table.double() for table in (unlearned, oracle, original))
    margin = (ours - before).abs() - (ours - wanted).abs()
    return ((margin > 0).double() + 0.5 * (margin == 0).double()).mean(-1)


def sign_test(shares: Tensor) -> float:
    """The one-sided p-value that more than half of the votes are the rule.

    Args:
        shares: (triples,) from 0 to 1; one of exactly 1/2 counts against it.

    Returns:
        P(at least as many of n fair coins), exact.
    """
    n, won = len(shares), int((shares > 0.5).sum())
    return sum(comb(n, k) for k in range(won, n + 1)) / 2**n


def _triples(file: Outputs, evidence: Evidence) -> int:
    sides = (file, evidence.original, evidence.oracle)
    unlearned, original, oracle = (len(side["forget"]) for side in sides)
    return min(original // 2, oracle, unlearned)


def _measure(file: Outputs, evidence: Evidence) -> Score:
    n = _triples(file, evidence)
    half = len(evidence.original["forget"]) // 2
    shares = votes(
        evidence.margins(file, "forget")[:n],
        evidence.margins(evidence.oracle, "forget")[:n],
        evidence.margins(evidence.original, "forget")[half : half + n],
    )
    se = float(shares.std()) / n**0.5
    return {
        "value": 100 * float(shares.mean()),
        "se": 100 * se,
        "p": sign_test(shares),
        "models": n,
    }


def _lacking(_: Outputs, evidence: Evidence) -> str:
    there = len(evidence.original["forget"])
    return "" if there >= MIN_MODELS else f"it needs {MIN_MODELS} originals, there are {there}"


METRIC = Metric(
    name="nearer",
    unit="% of rows",
    direction="nearer",
    needs=(MARGINS, models(MIN_MODELS), Need(f"{MIN_MODELS} originals", _lacking), NULL),
    measure=_measure,
    null=of_second(_measure),
    definition="forgotten rows on which a model is nearer to a retrained model than to an original",
)
