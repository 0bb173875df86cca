"""Attributors of other libraries, asked what `run.py` asks of ours.

Each gives a score for every pair of a train row and a judged row, which is turned into the change
of the judged row's margin when the train row is left out, in the sign and unit that the library's
documentation defines, and summed over the rows of a set. Margins and the loss are ours.

traker   Scores are of adding a row: the change is minus the score. The library divides by the mean
         absolute entry of an inverse, so the unit is arbitrary, and is left so. float32; its
         projection (normal, as on any CPU) is made again for every batch, so all rows are one.
         Its damping is 0 by default, which on digits did the better the fewer features there are
         (LDS on halves 0.10 with 1,024, 0.15 with 512, 0.26 with 128, no more with 104); and, to
         tell damping from all else, as much as ours has, with as many features.
kronfluence  EK-FAC influence: grad m G^-1 grad loss, G of the mean loss, so the change is the score
         over the rows trained on. Its default damping of 1e-8, and that of ours.
dattri   In `dattri.py`.
"""

import copy
import importlib.util
import logging
import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.attribution.ask import Ask
from expunge.attribution.trak import SHARE
from expunge.audit.evidence.margin import classification_margin

BATCH = 256  # rows, of kronfluence; as ours


def traker(ask: Ask, dimension: int, *, damped: bool = False) -> Tensor:
    """TRAK of its authors, one checkpoint; damped as ours is, or not at all."""
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
        if damped:
            squares = torch.from_numpy(made.saver.current_store["grads"][:]).square()
            made.score_computer.lambda_reg = SHARE * float(squares.sum())
        made.finalize_features()
        made.start_scoring_checkpoint("judged", state, model_id=0, num_targets=len(judged[1]))
        made.score(judged, num_samples=len(judged[1]))
        scores = torch.from_numpy(made.finalize_scores("judged").copy())
    return ask.summed(-scores[ask.asked])


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
