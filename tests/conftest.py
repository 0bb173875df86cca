"""Every test runs on one torch thread and leaves all global state as it was."""

import os
import random
from pathlib import Path

import numpy as np
import problems
import pytest
import torch

from expunge import grouping, report
from expunge.maker import Workshop
from expunge.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("EXPUNGE_DATA", str(SHARED))


def global_state() -> dict[str, object]:
    """What code may change behind the user's back."""
    return {
        "torch generator": torch.get_rng_state().tolist(),
        "numpy generator": str(np.random.get_state()),  # noqa: NPY002
        "python generator": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
    }


@pytest.fixture(autouse=True)
def global_state_is_left_alone(request):
    torch.set_num_threads(1)
    before = global_state()
    yield
    after = global_state()
    changed = [name for name in before if before[name] != after[name]]
    if request.path.parent.name == "report":  # some of these tests draw invented arrays themselves
        changed = [name for name in changed if not name.endswith("generator")]
    assert not changed


@pytest.fixture(autouse=True)
def group_sizes_are_hardly_timed(request, monkeypatch):
    """Which size is fastest matters to no test but those of the timing."""
    if request.path.name != "test_grouping.py":
        monkeypatch.setattr(grouping, "SIZES", (1,))


@pytest.fixture
def problem():
    """A tiny classification problem with six rows to forget."""
    return problems.tiny()


@pytest.fixture
def workshop(tmp_path):
    """An empty store, one process, one model at a time, no progress bar."""
    return Workshop(Store(tmp_path / "store"), jobs=1, group=1, progress=False)


@pytest.fixture
def no_page(monkeypatch):
    """The report page is left blank: drawing it takes longer than all the rest."""
    monkeypatch.setattr(report, "page", lambda document, evidence: "blank")
