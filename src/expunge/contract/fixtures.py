"""Fixtures of all tests: one torch thread, no trace in global state, small problems."""

import random

import numpy as np
import pytest
import torch

from expunge import report
from expunge.contract import problems
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training import group_size as grouping


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
        "kernels": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.mkldnn.enabled,
            torch.backends.cudnn.enabled,
        ),
    }


def changed_since(before: dict[str, object]) -> list[str]:
    """What of the global state is no longer as it was."""
    after = global_state()
    return [name for name in before if before[name] != after[name]]


@pytest.fixture(autouse=True)
def global_state_is_left_alone(request):
    """Every test leaves all global state as it was."""
    torch.set_num_threads(1)
    before = global_state()
    yield
    changed = changed_since(before)
    if request.path.parent.name == "report":  # some of these tests draw invented arrays themselves
        changed = [name for name in changed if not name.endswith("generator")]
    assert not changed


@pytest.fixture(autouse=True)
def group_sizes_are_hardly_timed(request, monkeypatch):
    """Which size is fastest matters to no test but those of the timing."""
    if request.path.name != "test_group_size.py":
        monkeypatch.setattr(grouping, "SIZES", (1,))


@pytest.fixture
def problem():
    """A tiny classification problem with six rows to forget."""
    return problems.tiny()


@pytest.fixture
def runtime(tmp_path):
    """An empty store, one process, one model at a time, no progress bar."""
    return Runtime(Store(tmp_path / "store"), jobs=1, group=1, progress=False)


@pytest.fixture
def no_page(monkeypatch):
    """The report page is left blank: drawing it takes longer than all the rest."""
    monkeypatch.setattr(report, "page", lambda document, evidence: "blank")
