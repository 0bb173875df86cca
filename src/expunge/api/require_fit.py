"""Whether a model fits its problem: the first thing that a request looks at."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from expunge.data.padding import MASK
from expunge.engine.ensemble import StorableModels
from expunge.errors import BadInput
from expunge.fanout import one_thread
from expunge.methods import Method
from expunge.problem import Classification, Problem, TextClassification
from expunge.training.model_cache import ModelCache

FEW = 8  # rows read to see whether outputs fit
SAMPLE = 64  # rows among which a short and a long one are looked for


def require_fit(problem: Problem, models: StorableModels) -> None:
    """Read a few retained rows, so that a model that does not fit is told before any work.

    Args:
        problem: whose task and train data are meant.
        models: one or more.

    Raises:
        BadInput: outputs that do not fit the task, or that depend on padding.
    """
    rows = problem.retain[:FEW]
    (batch,) = problem.train.batches([rows])
    by_name, task = isinstance(batch.inputs, Mapping), problem.task
    try:
        models.outputs(task, problem.train, rows)
    except (AttributeError, KeyError, TypeError) as error:
        whole = isinstance(task, Classification) and not isinstance(task, TextClassification)
        if not (by_name and whole):
            raise
        raise BadInput(
            f"the model cannot read inputs that are a mapping ({type(error).__name__}: {error})",
            expected="a model that takes the mapping as its one argument",
            fix="use TextClassification, which passes the inputs by name",
        ) from error
    if by_name and MASK in batch.inputs:
        _require_invisible_padding(problem, models)


def require_methods(problem: Problem, methods: Iterable[Method]) -> None:
    """Refuse methods that do not fit the problem, before any model is trained.

    Raises:
        BadInput: what a method's own `require` raises; one that takes ensembles alone, where the
            training makes other models.
    """
    for method in methods:
        if not problem.training.ensembles and not getattr(method, "any_models", False):
            raise BadInput(
                f"{method.name} on models of {type(problem.training).__name__}",
                expected="a method that takes such models, or a training that makes ensembles",
                fix="choose retrain, or a method made for this training",
            )
        if (require := getattr(method, "require", None)) is not None:
            require(problem)


def require_weights(model: nn.Module) -> None:
    """Raise BadInput where weights are offloaded: what a step changes of them would be lost."""
    away = [name for name, weight in model.named_parameters() if weight.is_meta]
    if away:
        raise BadInput(
            f"{len(away)} weights of the model lie on no device, the first {away[0]} (they are "
            "offloaded to memory or disk, or were never loaded)",
            expected="a model whose weights all lie on devices, of which there may be several",
            fix="load it with a device_map that names neither cpu nor disk beside accelerators",
        )


def require_recipe_fit(cache: ModelCache) -> None:
    """The same of a model that the recipe builds, before any is trained."""
    with one_thread():
        models = cache.built.to(cache.runtime.device)
        require_fit(cache.problem, models)


def require_trained_fit(cache: ModelCache, originals: int) -> None:
    """The same of some of the originals: the outputs of a fresh model may be next to nothing."""
    key, ids = cache.keys("original", originals)[0], cache.blocks(originals)[0]
    with one_thread():
        require_fit(cache.problem, cache.block(key, ids).to(cache.runtime.device))


def _require_invisible_padding(problem: Problem, models: StorableModels) -> None:
    """Read the shortest row of a sample alone and beside the longest; its outputs must be equal.

    Rows that all have one length, as those held in one tensor have, show nothing and pass.
    """
    every = problem.retain
    sample = every[torch.linspace(0, len(every) - 1, min(SAMPLE, len(every))).long()]
    (batch,) = problem.train.batches([sample])
    tokens = batch.inputs[MASK].flatten(1).sum(1)
    short, long = sample[tokens.argmin()], sample[tokens.argmax()]
    task, data = problem.task, problem.train
    alone = models.outputs(task, data, short[None])
    beside = models.outputs(task, data, torch.stack([short, long]))[:, :1]
    differ = (alone - beside).abs().max().item()
    if differ > _rounding(models) * max(1.0, alone.abs().max().item()):
        raise BadInput(
            f"padding changes the outputs of {problem.row_name(short)} by {differ:.2g}: read alone "
            f"they are others than beside {problem.row_name(long)}, which is longer",
            expected=f"a model that does not look where {MASK} is 0",
            fix=f"pass {MASK} to the model and let it act on it: in attention, in means and "
            "maxima over tokens, in the choice of the last token",
        )


def _rounding(models: StorableModels) -> float:
    """What rounding may change: half the digits of the coarsest type among weights, or float32."""
    types = {t.dtype for t in models.tensors().values() if t.is_floating_point()}
    return max(torch.finfo(kind).eps for kind in {*types, torch.float32}) ** 0.5
