"""What tests share lies in `expunge.contract`; here only where the real data sets are."""

import os
from pathlib import Path

from expunge.contract.fixtures import (  # noqa: F401 (pytest finds fixtures by their names here)
    global_state_is_left_alone,
    group_sizes_are_hardly_timed,
    no_page,
    problem,
    runtime,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
if SHARED.is_dir():
    os.environ.setdefault("EXPUNGE_DATA", str(SHARED))
