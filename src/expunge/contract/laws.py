"""The laws of a method by name: what each says, and where one that is broken is usually mended.

A test belongs to a law by the mark `law`; `conftest.py` runs it on every method that must obey. A
method is exempt where its class says `exempt = {"law": "the reason"}`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from expunge.methods import Method


class Law(NamedTuple):
    """What a law says, and the usual fix."""

    says: str
    fix: str


LAWS = {
    "identity without rows": Law(
        "Without forget rows nothing changes, nothing is paid and the result says why.",
        'return `unchanged(models, "there were no rows to forget")` from expunge.methods.method',
    ),
    "change": Law(
        "With forget rows some weight changes, and `changed` is the largest change.",
        "use `largest_change`; where no weight may move, give a reason and claim the exemption",
    ),
    "arguments": Law(
        "Nothing passed in is changed: problem, models, their modes and gradients, teachers, mask.",
        "work on the copies that `models.groups()` makes",
    ),
    "global state": Law(
        "Generators, default dtype, flags and thread count are as before.",
        'draw from `Draws((seed, "unlearn", name))`, never from a global generator',
    ),
    "same seed": Law(
        "The same seed gives the same bits, whatever the order of the forget rows.",
        'draw everything from `Draws((seed, "unlearn", name))`, and use `problem.forget` as it is',
    ),
    "seed": Law(
        "Another seed, and another member, gives another result.",
        "draw by member with `draws.of(group.ids)`; a method that draws nothing is exempt",
    ),
    "lr": Law(
        "With lr = 0 no parameter moves.",
        "multiply every step by lr, decay of weights included",
    ),
    "forgotten rows are read": Law(
        "It reads the forgotten rows, and refuses those that hold NaN; if exempt, it is blind.",
        "read rows through `problem.train.batches`; a method that reads none of them is exempt",
    ),
    "present": Law(
        "Rows deleted by earlier requests are never read.",
        "take rows from `problem.retain`, `problem.forget` or `problem.present_rows`",
    ),
    "mask": Law(
        "Masked weights keep their bits, and the others move.",
        "hand `inputs.mask` to `descend`, or use `finetune`",
    ),
    "module": Law(
        "Models in a group come out as each alone does, but for rounding (float64, 50 steps).",
        "write the loss of one model, that depends on nothing but the model and its batches (else "
        "call `finetune` with replayable=False); take no mean over members",
    ),
    "start": Law(
        "It starts from the weights that it is given, also in groups of two with one left over.",
        "go through `models.groups()`, and put the parts together with `Ensemble.concat`",
    ),
    "alone": Law(
        "A model comes out the same, to the last bit, alone or among others.",
        "let draws depend on the member's number in `models.ids`, not on its place",
    ),
    "buffers": Law(
        "Statistics of batch norm move as rows are read, in training mode; if exempt, they stay.",
        "use `finetune`, or `models.mode(training=True)`; an edit of weights is exempt",
    ),
    "processes": Law(
        "Two processes give the bits of one.",
        "keep nothing between calls, and nothing at module level",
    ),
    "price": Law(
        "`price` says beforehand what is paid, whatever the batch sizes and number of models.",
        "count every row forward and backward, saliency and targets included",
    ),
    "one forward a row read": Law(
        "What is paid is what the data gave out, one forward for a row read.",
        "count each batch; a method with several forwards for a batch is exempt",
    ),
    "exact": Law(
        "What claims to be exact reaches the retrained optimum of convex problems, to 1e-8.",
        "claim less: Claim.APPROXIMATE",
    ),
    "closer": Law(
        "From the optimum of a convex problem, it comes as near the retrained one as it claims.",
        "claim less: `closer = (share of the distance that is left at most, settings)`",
    ),
    "direction": Law(
        "From the optimum of logistic regression, the loss of the forgotten rows rises.",
        "see that forget and retain are not swapped, and the sign of the step",
    ),
}


def law(*names: str, exempt: bool = False, of: Callable[[type[Method]], bool] | None = None) -> Any:
    """The mark of a test: run on every method that must obey all these laws, as `kind`.

    Args:
        names: of LAWS; the first is the one that the test belongs to.
        exempt: run on the methods that are exempt from the first, instead.
        of: whether a method is meant at all, e.g. has a learning rate.
    """
    import pytest

    assert {*names} <= LAWS.keys(), names
    return pytest.mark.law(*names, exempt=exempt, of=of)
