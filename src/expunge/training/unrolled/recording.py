"""A recording: what the steps of one training changed, a file a step, for amnesiac unlearning."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.store.checksummed import read_checked, write_checked


@dataclass(frozen=True)
class Recording:
    """Updates of weights in a folder; a step that is missing was not recorded."""

    folder: Path

    def keep(self, step: int, update: dict[str, Tensor]) -> None:
        """Write down what step number `step`, counted from 0, changed, by parameter name."""
        write_checked(self._path(step), update)

    def update(self, step: int) -> dict[str, Tensor]:
        """What a step changed.

        Raises:
            BadInput: it was not recorded, or its file is damaged.
        """
        path = self._path(step)
        if not path.is_file():
            raise BadInput(
                f"step {step} of the training held a row to forget and was not recorded",
                expected=f"a file {path}",
                fix="train with `expunge train --record` and a list that holds these rows, or all",
            )
        try:
            return read_checked(path)
        except (ValueError, OSError) as error:
            raise BadInput(
                f"{path} cannot be read ({error})",
                expected="the update that `expunge train --record` wrote",
                fix="restore the file; without it this step cannot be taken back",
            ) from error

    def clear(self) -> None:
        """Remove what another training, that was killed, wrote down here."""
        for path in self.folder.glob("step-*.safetensors"):
            path.unlink()

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.safetensors"


@dataclass
class Recorder:
    """Looks on while one model is trained, and writes the chosen steps down.

    Attributes:
        recording: where.
        steps: bool (steps,), which.
    """

    recording: Recording
    steps: Tensor

    def __post_init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def look(self, step: int, models: Ensemble) -> None:
        """See `descend`: `step` steps are done."""
        now = {name: weight.detach().clone() for name, weight in models.weights().items()}
        if self._before and self.steps[step - 1]:
            changed = {name: value - self._before[name] for name, value in now.items()}
            self.recording.keep(step - 1, changed)
        self._before = now
