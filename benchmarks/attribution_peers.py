"""Attributors of other libraries, asked what `attribution.py` asks of ours.

Each gives a score for every pair of a train row and a judged row, which is turned into the change
of the judged row's margin when the train row is left out, in the sign and unit that the library's
documentation defines, and summed over the rows of a set. Margins and the loss are ours.

traker   Scores are of adding a row: the change is minus the score. The library divides by the mean
         absolute entry of an inverse, so the unit is arbitrary, and is left so. float32; its
         projection (normal, as on any CPU) is drawn anew for every batch, so all rows are one.
dattri   TRAK: as traker, but in the unit of margins. Influence: score = grad m H^-1 grad loss with
         H of the mean loss, so the change is score / rows trained on. H is the true Hessian,
         which has negative eigenvalues: Arnoldi's iteration keeps the largest 20, as with 50 or
         the default 100 scores were NaN on digits; the damping (0 by default) is that of ours.
         Its conjugate gradients (ten) took 42 to 50 s for one model on digits, and agreed with
         Arnoldi's only at a damping of 1. Inverse products are made again for every batch of train
         rows, so all rows are one.
kronfluence  EK-FAC: as dattri's influence, with its Gauss-Newton factors; its default damping of
         1e-8, and that of ours.
"""

import copy
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from attribution_ask import Ask
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from expunge.audit.margin import classification_margin

DIRECTIONS = 20  # of Arnoldi's iteration
BATCH = 256  # rows, of kronfluence; as ours


def traker(ask: Ask, dimension: int) -> Tensor:
    """TRAK of its authors, one checkpoint."""
    from trak import TRAKer

    module = copy.deepcopy(ask.module)
    state, (train, judged) = module.state_dict(), (list(ask.train), list(ask.judged))
    with tempfile.TemporaryDirectory() as folder:
        made = TRAKer(
            model=module,
            task="image_classification",
            train_set_size=len(train[1]),
            save_dir=folder,
            device="cpu",
            proj_dim=dimension,
            use_half_precision=False,
            logging_level=logging.ERROR,
        )
        made.load_checkpoint(state, model_id=0)
        made.featurize(train, num_samples=len(train[1]))
        made.finalize_features()
        made.start_scoring_checkpoint("judged", state, model_id=0, num_targets=len(judged[1]))
        made.score(judged, num_samples=len(judged[1]))
        scores = torch.from_numpy(made.finalize_scores("judged").copy())
    return ask.summed(-scores[ask.asked])


def dattri_trak(ask: Ask, dimension: int) -> Tensor:
    """TRAK in dattri."""
    from dattri.algorithm.trak import TRAKAttributor

    def right(weights: Any, row: Any) -> Tensor:
        return torch.sigmoid(_margin(ask.module, weights, row))

    task = _task(ask, _margin, _margin)
    made = TRAKAttributor(
        task, right, projector_kwargs={"proj_dim": dimension, "proj_max_batch_size": 32}
    )
    made.cache(_loader(ask.train))
    return ask.summed(-made.attribute(_loader(ask.judged))[ask.asked])


def dattri_influence(ask: Ask) -> Tensor:
    """Influence functions in dattri, by Arnoldi's iteration."""
    from dattri.algorithm.influence_function import IFAttributorArnoldi

    made = IFAttributorArnoldi(
        _task(ask, _loss, _margin), proj_dim=DIRECTIONS, regularization=ask.damping
    )
    made.cache(_loader(ask.train))
    inputs, targets = ask.train
    asked = _loader((inputs[ask.asked], targets[ask.asked]))
    scores = made.attribute(asked, _loader(ask.judged)).detach()
    return ask.summed(scores / len(targets))


def kronfluence(ask: Ask, damping: float | None) -> Tensor:
    """EK-FAC influence in kronfluence; damped as ours is where `damping` is None."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class Margins(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            z, y = model(batch[0]), batch[1]
            if sample:
                y = torch.multinomial(z.detach().softmax(-1), 1).squeeze(-1)
            return nn.functional.cross_entropy(z, y, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return classification_margin(model(batch[0]), batch[1]).sum()

    module = prepare_model(copy.deepcopy(ask.module).eval(), Margins())
    train, judged = TensorDataset(*ask.train), TensorDataset(*ask.judged)
    score_args = ScoreArguments(damping_factor=ask.damping if damping is None else damping)
    with tempfile.TemporaryDirectory() as folder:
        made = Analyzer(
            "attribution", module, Margins(), cpu=True, disable_tqdm=True, output_dir=folder
        )
        made.fit_all_factors(
            "ekfac", train, per_device_batch_size=BATCH, factor_args=FactorArguments("ekfac")
        )
        made.compute_pairwise_scores(
            *("scores", "ekfac", judged, train),
            per_device_query_batch_size=len(judged),
            train_indices=ask.asked.tolist(),
            per_device_train_batch_size=BATCH,
            score_args=score_args,
        )
        scores = made.load_pairwise_scores("scores")["all_modules"]
    return ask.summed(scores.T.float() / len(train))


def installed(library: str) -> bool:
    """Whether a library is here."""
    return importlib.util.find_spec(library) is not None


def _task(ask: Ask, loss: Callable, target: Callable) -> Any:
    from dattri.task import AttributionTask

    module = copy.deepcopy(ask.module).eval()
    return AttributionTask(
        loss_func=lambda weights, rows: loss(module, weights, rows),
        model=module,
        checkpoints=module.state_dict(),
        target_func=lambda weights, rows: target(module, weights, rows),
    )


def _margin(module: nn.Module, weights: Any, rows: Any) -> Tensor:
    """The margin of a row, with or without a batch axis of one."""
    z, y = _outputs(module, weights, rows)
    return classification_margin(z, y).sum()


def _loss(module: nn.Module, weights: Any, rows: Any) -> Tensor:
    """The mean loss, the batch axis in front."""
    z, y = _outputs(module, weights, rows)
    # no cross_entropy: a second derivative under vmap has to pass
    return (z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1)).mean()


def _outputs(module: nn.Module, weights: Any, rows: Any) -> tuple[Tensor, Tensor]:
    inputs, targets = rows
    if targets.ndim == 0:
        inputs, targets = inputs[None], targets[None]
    return functional_call(module, weights, inputs), targets


def _loader(pair: tuple[Tensor, Tensor]) -> DataLoader:
    warnings.filterwarnings("ignore", module="dattri")
    return DataLoader(TensorDataset(*pair), batch_size=len(pair[1]), shuffle=False)
