"""What a model computes: outputs, answers, loss, distance, margin."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.audit.evidence.margin import classification_margin, regression_margin
from expunge.data import Batch
from expunge.errors import BadInput
from expunge.registry import REQUIRED, check, setting
from expunge.rng import Draws


class Task(ABC):
    """How to read a model; shapes are for a batch of B rows.

    Methods are pure, so that they can be vmapped. The judge knows a task by them alone.
    """

    kind: str = "other"  # what the evidence declares: "classification", "regression" or any word

    def prepare(self, batch: Batch, draws: Draws, training: bool) -> Batch:
        """The batch as it goes into the model; a denoising task adds its noise here.

        When judging, each row has draws of its own (`Draws.by_row`), the same for every model: a
        row's answers depend neither on its batch nor on the order of rows.
        """
        return batch

    @abstractmethod
    def outputs(self, model: Any, batch: Batch) -> Tensor:
        """(B, C): the numbers that are matched."""

    def answers(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(B, K): the numbers that are kept and judged; the outputs, unless a task says else."""
        return outputs

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(B,), unreduced, nats."""

    @abstractmethod
    def distance(
        self, outputs: Tensor, teacher: Tensor, batch: Batch, temperature: float = 1.0
    ) -> Tensor:
        """(B,): how far the outputs are from a teacher's outputs, nats."""

    @abstractmethod
    def margin(self, answers: Tensor, batch: Batch) -> Tensor:
        """(B,): one number a row by which models are compared; the evidence keeps it."""

    @abstractmethod
    def relabel(self, batch: Batch, draws: Draws, own: bool = False) -> Batch:
        """The batch with other targets than its own, for rows whose truth is to be unlearned.

        With `own` a row's target may by chance be its own again, as in some published code.
        """

    def redirected(self, model: Any, batch: Batch, teacher: Any = None) -> Tensor:
        """(B,): the loss that pulls the rows of a relabelled batch to their new targets, nats.

        Args:
            model: that is pulled.
            batch: as `relabel` gives it.
            teacher: the model as it was, for tasks whose new target is an answer of it.
        """
        return self.loss(self.outputs(model, batch), batch)

    @abstractmethod
    def check(self, outputs: Tensor, batch: Batch) -> None:
        """Raise BadInput where outputs (B, C) do not fit the task or the targets."""


@dataclass(eq=False)  # not frozen: a user's subclass may have attributes of its own
class Classification(Task):
    """Outputs are logits (B, C), targets class numbers int64 (B,) in [0, C)."""

    name: ClassVar[str] = "classification"
    kind = "classification"

    classes: int = setting(REQUIRED, "number of classes; `regression` is for one number", least=2)

    def __post_init__(self) -> None:
        check(self)

    def outputs(self, model: Any, batch: Batch) -> Tensor:
        """The logits, (B, C).

        Raises:
            BadInput: the model's answer is no tensor.
        """
        return _tensor(model(batch.inputs))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy with the targets, (B,), nats."""
        return F.cross_entropy(outputs, batch.targets, reduction="none")

    def distance(
        self, outputs: Tensor, teacher: Tensor, batch: Batch, temperature: float = 1.0
    ) -> Tensor:
        """KL(teacher || outputs) of the softened probabilities, times temperature squared, (B,).

        The factor keeps the size of the gradient (Hinton et al. 2015, arXiv 1503.02531).
        """
        p = F.log_softmax(teacher / temperature, dim=-1)
        q = F.log_softmax(outputs / temperature, dim=-1)
        return (p.exp() * (p - q)).sum(-1) * temperature**2

    def margin(self, answers: Tensor, batch: Batch) -> Tensor:
        """Logit of the true class minus logsumexp of the others, (B,), nats."""
        return classification_margin(answers, batch.targets)

    def relabel(self, batch: Batch, draws: Draws, own: bool = False) -> Batch:
        """Targets drawn evenly from the other C - 1 classes, or from all C with `own`."""
        least = 0 if own else 1
        shift = least + draws.integers(self.classes - least, batch.rows.shape[-1:])
        return batch._replace(
            targets=(batch.targets + shift.to(batch.targets.device)) % self.classes
        )

    def check(self, outputs: Tensor, batch: Batch) -> None:
        """Raise BadInput unless outputs are (B, C) and the targets class numbers below C."""
        wanted = (len(batch.rows), self.classes)
        if tuple(outputs.shape) != wanted or not outputs.is_floating_point():
            raise BadInput(
                f"the model gave outputs of shape {tuple(outputs.shape)}, {outputs.dtype}",
                expected=f"logits of shape {wanted} for Classification(classes={self.classes})",
                fix="return the logits alone, or correct the number of classes",
            )
        low, high = batch.targets.min().item(), batch.targets.max().item()
        shape = tuple(batch.targets.shape)
        whole = batch.targets.dtype == torch.int64 and len(shape) == 1
        if not whole or low < 0 or high >= self.classes:
            raise BadInput(
                f"targets are {batch.targets.dtype} of shape {shape} from {low} to {high}",
                expected=f"class numbers from 0 to {self.classes - 1}, one a row, int64",
                fix="map labels to class numbers (.long()), or correct the number of classes",
            )


@dataclass(eq=False)
class TextClassification(Classification):
    """Classification by a model that takes its inputs by name, as models of transformers do.

    Inputs are a mapping such as {"input_ids", "attention_mask"} of (B, length) each, passed as
    `model(**inputs)`. The model answers with logits (B, C), or with an object that has `.logits`.
    """

    name: ClassVar[str] = "text-classification"

    def outputs(self, model: Any, batch: Batch) -> Tensor:
        """The logits, (B, C).

        Raises:
            BadInput: inputs that are no mapping, a name that the model does not know or misses, or
                an answer without logits.
        """
        if not isinstance(batch.inputs, Mapping):
            raise BadInput(
                f"inputs of type {type(batch.inputs).__name__} for TextClassification",
                expected="a mapping, whose entries the model takes by name",
                fix="give rows as mappings (see Padding), or use Classification",
            )
        try:
            answer = model(**batch.inputs)
        except TypeError as error:
            misfit = _misfit(model, batch.inputs)
            if not misfit:  # an error of the model itself
                raise
            raise BadInput(
                f"the model does not take these inputs by name ({misfit})",
                expected=f"a model whose forward has the arguments {', '.join(batch.inputs)}",
                fix="leave out the columns that it does not read, and add those that it needs",
            ) from error
        logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
        if not isinstance(logits, Tensor):
            raise BadInput(
                f"a model without logits: it gave {_described(answer)}",
                expected="logits (B, C), or an object with .logits",
                fix="use the model with a classification head (...ForSequenceClassification)",
            )
        return logits


def _misfit(model: Any, inputs: Mapping[str, Any]) -> str:
    """Why a call by these names fails before the model's own code runs; "" if it does not."""
    try:
        inspect.signature(getattr(model, "forward", model)).bind(**inputs)
    except TypeError as error:
        return str(error)
    return ""


@dataclass(eq=False)
class Regression(Task):
    """Outputs are one value a row (B, 1), targets values (B,)."""

    name: ClassVar[str] = "regression"
    kind = "regression"

    def outputs(self, model: Any, batch: Batch) -> Tensor:
        """The predicted values, (B, 1).

        Raises:
            BadInput: the model's answer is no tensor.
        """
        return _tensor(model(batch.inputs))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Half the squared error, (B,): the negative log-likelihood of a unit normal."""
        return 0.5 * regression_margin(outputs, batch.targets).square()

    def distance(
        self, outputs: Tensor, teacher: Tensor, batch: Batch, temperature: float = 1.0
    ) -> Tensor:
        """Half the squared difference, (B,); the temperature has no meaning here."""
        return 0.5 * (outputs - teacher).square().sum(-1)

    def margin(self, answers: Tensor, batch: Batch) -> Tensor:
        """Predicted minus true value, (B,)."""
        return regression_margin(answers, batch.targets)

    def relabel(self, batch: Batch, draws: Draws, own: bool = False) -> Batch:
        """Each row gets the target of another row of its batch (of itself, if it is alone)."""
        size, least = batch.rows.shape[-1], 0 if own else 1
        shift = least + draws.integers(max(size - least, 1), (1,))
        other = (torch.arange(size) + shift) % size
        return batch._replace(targets=batch.targets.gather(-1, other.to(batch.targets.device)))

    def check(self, outputs: Tensor, batch: Batch) -> None:
        """Raise BadInput unless outputs are (B, 1) and targets (B,) floating point."""
        if tuple(outputs.shape) != (len(batch.rows), 1) or not outputs.is_floating_point():
            raise BadInput(
                f"the model gave outputs of shape {tuple(outputs.shape)}, {outputs.dtype}",
                expected=f"one value a row, shape {(len(batch.rows), 1)}",
                fix="end the model with one output and keep its last axis",
            )
        if batch.targets.ndim != 1 or not batch.targets.is_floating_point():
            raise BadInput(
                f"targets are {batch.targets.dtype} of shape {tuple(batch.targets.shape)}",
                expected="one floating-point value a row, shape (B,)",
                fix="flatten the targets and convert them with .float()",
            )


def _tensor(answer: Any) -> Tensor:
    if isinstance(answer, Tensor):
        return answer
    raise BadInput(
        f"the model gave {_described(answer)}",
        expected="one tensor of outputs",
        fix="return the tensor alone; a model that takes inputs by name and answers with .logits, "
        "as those of transformers, needs TextClassification",
    )


def _described(answer: Any) -> str:
    """What a model gave, in words: its type, and the names in it if it has any."""
    names = f" with {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else ""
    return f"a {type(answer).__name__}{names}"
