"""descend(): the only gradient loop in the package, and the cost that it counts."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.engine.replay import LEAST, Gradients
from expunge.errors import BadInput
from expunge.problem.recipe import constant
from expunge.rng import Draws, reseed, seeded
from expunge.store.checkpoint import Checkpoint, Spent


def descend(
    models: Ensemble,
    objective: Callable[..., Tensor],
    feeds: Iterable[tuple[Any, ...] | None],
    *,
    steps: int,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    draws: Draws,
    schedule: Callable[[float], float] = constant,
    l2: float = 0.0,
    clip: float | None = None,
    mask: Mapping[str, Tensor] | None = None,
    strict: bool = True,
    l1: Callable[[float], float] | None = None,
    precision: str = "fp32",
    training: bool = True,
    after: Callable[[int, Ensemble], None] | None = None,
    watch: Callable[[int, Ensemble], None] | None = None,
    checkpoint: Checkpoint | None = None,
    replayable: bool = False,
) -> Cost:
    """Gradient steps on the members of one group, in place.

    Args:
        models: one group; its weights and buffers are overwritten.
        objective: `objective(model, *feed)` -> scalar, for one member.
        feeds: one tuple a step, as `Ensemble.each` takes it; None leaves the step out, which counts
            in the schedule and reads nothing.
        steps: their number, which the schedule needs; a feed that ends early is an error.
        optimizer: of named parameters; must be element-wise, as it sees the stacked tensors.
        draws: seed the model's own randomness (dropout) at every step.
        schedule: progress in [0, 1) -> factor on the learning rate.
        l2: adds l2/2 |theta|^2 to the objective.
        clip: largest gradient norm of each member.
        mask: by parameter name, bool of the parameter's own shape, or (members, ...) with a mask
            for each member; True = may move. Masked weights stay bit-identical, whatever momentum
            and weight decay do. A parameter without an entry may move.
        strict: False lets the mask stop the gradient of the objective only, so that l2 and
            momentum still move masked weights, as much published code did.
        l1: progress -> weight of |theta|_1, added to the objective.
        precision: "fp32", or "bf16" for autocast.
        training: False descends in evaluation mode: batch norm's statistics stay.
        after: called with the step's number and the models after each step; may change them.
        watch: only looks: called before the first step and after each one with the number of
            steps done, which begins where a resumed run goes on.
        checkpoint: keeps and resumes a long run; the feeds must begin after its steps.
        replayable: the objective depends on nothing but the model and its feed, so that the
            steps of a group may be replayed from a trace.

    Returns:
        What was spent on each member.

    Raises:
        BadInput: the weights became NaN or infinite; a mask that does not fit; an objective that
            is not as pure as was said.
    """
    start = perf_counter()
    weights = models.weights()
    if not weights:
        raise BadInput(
            "the model has no parameter that requires a gradient",
            expected="at least one trainable parameter",
            fix="call requires_grad_(True) on what may change",
        )
    frozen = frozen_weights(models, mask)
    opt = optimizer(list(weights.items()))
    full_rates = [group["lr"] for group in opt.param_groups]
    spent = before = checkpoint.resume(weights, opt) if checkpoint else Spent()
    autocast = torch.autocast(models.device.type, torch.bfloat16, enabled=precision == "bf16")
    gradients = Gradients(models, objective, replayable and steps >= LEAST and precision == "fp32")
    # Only a plain module may draw (dropout); a vmapped one refuses to.
    own = draws.of(models.ids) if models.stacked is None else None
    with models.mode(training), seeded(own.seeds()[0]) if own else nullcontext():
        if watch is not None:
            watch(before.steps, models)
        for step, feed in enumerate(feeds, start=before.steps):
            if feed is None:
                spent = spent._replace(steps=step + 1)
                if watch is not None:
                    watch(step + 1, models)
                continue
            if own:
                reseed(own.at("step", step).seeds()[0])
            for group, rate in zip(opt.param_groups, full_rates, strict=True):
                group["lr"] = rate * schedule(step / steps)
            opt.zero_grad(set_to_none=True)
            with autocast:
                gradients(*feed)
            penalty = 0.0 if l1 is None else l1(step / steps)
            _finish_gradients(weights, l2, penalty, clip, frozen, strict, members=len(models))
            opt.step()
            if after is not None:
                after(step, models)
            if strict:
                restore(weights, frozen)
            if watch is not None:
                watch(step + 1, models)
            rows = sum(batch.rows.shape[-1] for batch in feed if isinstance(batch, Batch))
            seconds = before.seconds + perf_counter() - start
            spent = Spent(step + 1, spent.rows + rows, seconds)
            if checkpoint is not None:
                checkpoint.offer(weights, opt, spent)
    assert spent.steps == steps, f"{spent.steps} feeds for {steps} steps"
    require_finite(weights, models)
    return Cost(spent.rows, spent.rows, spent.seconds)


Frozen = dict[str, tuple[Tensor, Tensor]]  # by name: where it may move, and its value before


def frozen_weights(models: Ensemble, mask: Mapping[str, Tensor] | None) -> Frozen:
    """Where each masked parameter of one group may move, and the values it returns to elsewhere.

    Raises:
        BadInput: a mask that is not bool, for no trainable parameter, or of another shape.
    """
    weights, frozen = models.weights(), {}
    lone = models.stacked is None
    for name, may_move in (mask or {}).items():
        whole = weights[name].shape if name in weights else None
        own = whole if whole is None or lone else whole[1:]
        if lone and may_move.shape[:1] == (1,) and whole == may_move.shape[1:]:
            may_move = may_move[0]  # a mask for each of one member
        if may_move.dtype != torch.bool or may_move.shape not in (own, whole):
            raise BadInput(
                f"a mask for '{name}' of {may_move.dtype}, shape {tuple(may_move.shape)}",
                expected=f"bool masks for trainable parameters ({', '.join(weights)})"
                + (f"; this one of shape {tuple(own)}" if own is not None else ""),
                fix="make the mask from the model's named_parameters()",
            )
        may_move = may_move.to(weights[name].device)
        frozen[name] = (may_move, weights[name].detach().clone())
    return frozen


def restore(weights: Mapping[str, Tensor], frozen: Frozen) -> None:
    """Give masked weights their values back, to the last bit."""
    with torch.no_grad():
        for name, (may_move, value) in frozen.items():
            weights[name].copy_(torch.where(may_move, weights[name], value))


def _finish_gradients(
    weights: Mapping[str, Tensor],
    l2: float,
    l1: float,
    clip: float | None,
    frozen: Frozen,
    strict: bool,
    members: int,
) -> None:
    for w in weights.values():
        if w.grad is not None and w.grad.is_sparse:  # of embeddings; Adam and decay refuse them
            w.grad = w.grad.to_dense()
    grads = {name: w.grad for name, w in weights.items() if w.grad is not None}
    masked = {name: may_move for name, (may_move, _) in frozen.items() if name in grads}
    for name, may_move in masked.items():  # before decay: what is not strict lets it through
        grads[name].mul_(may_move)
    for name, grad in grads.items():
        if l2:
            grad.add_(weights[name].detach(), alpha=l2)
        if l1:
            grad.add_(weights[name].detach().sign(), alpha=l1)
    if strict:
        for name, may_move in masked.items():
            grads[name].mul_(may_move)
    if clip is not None:  # each member has its own norm
        per_member = [g.reshape(members, -1).square().sum(1) for g in grads.values()]
        norms = torch.stack(per_member).sum(0).sqrt()
        factor = (clip / norms.clamp_min(1e-12)).clamp_max(1.0)
        for grad in grads.values():  # of one member without the member axis
            grad.mul_(factor if members == 1 else factor.view(-1, *[1] * (grad.ndim - 1)))


def require_finite(
    weights: Mapping[str, Tensor],
    models: Ensemble,
    *,
    expected: str = "gradient steps that stay finite",
    fix: str = "lower the learning rate or the number of steps",
) -> None:
    """Raise BadInput, with these words, where weights became NaN or infinite."""
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise BadInput(
                f"'{name}' became NaN or infinite in members {models.ids[0]} to {models.ids[-1]}",
                expected=expected,
                fix=fix,
            )
