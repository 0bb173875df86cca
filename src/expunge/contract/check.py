"""The laws on one method: `check` runs the suite on it and tells law by law how it went."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from expunge.contract.cases import exemptions
from expunge.contract.laws import LAWS
from expunge.methods import Method

HERE = Path(__file__).parent
SECONDS = 300  # for one test; a method at short settings takes hundredths


@dataclass
class Verdict:
    """How a method stands to one law."""

    law: str
    tests: int = 0  # that ran
    broken: list[str] = field(default_factory=list)  # what failed and why, a line each
    traces: list[str] = field(default_factory=list)  # the same with pytest's explanation
    exempt: str = ""  # the reason

    @property
    def state(self) -> str:
        """One of kept, broken, exempt and not asked (as of a learning rate where there is none)."""
        if self.broken:
            return "broken"
        if self.exempt:
            return "exempt"
        return "kept" if self.tests else "not asked"


def check(kind: type[Method], laws: Collection[str] = LAWS) -> list[Verdict]:
    """Run laws on a method, at the settings of `cases.short`.

    Args:
        kind: a class without `validate_class`, in a module that other processes can import.
        laws: of LAWS; default all.

    Raises:
        RuntimeError: the suite itself could not run.
    """
    plugin = Check(kind, laws)
    options = ["-c", os.devnull, "--rootdir", str(HERE), f"--timeout={SECONDS}"]
    plugins = ("pytest_timeout", "no:cacheprovider", "no:terminal", "no:unraisableexception")
    options += [word for name in plugins for word in ("-p", name)]
    before = dict(os.environ)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what else is installed must not matter
    os.environ.pop("PYTEST_ADDOPTS", None)
    try:
        code = pytest.main([str(HERE), *options], plugins=[plugin])
    finally:
        os.environ.clear()
        os.environ.update(before)
    ran = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED
    if code not in ran:
        raise RuntimeError(f"the contract suite did not run: {code!r}\n{plugin.errors}")
    return [*plugin.verdicts.values()]


class Check:
    """A plugin of pytest: one method is tested, and what comes out is kept by law."""

    def __init__(self, kind: type[Method], laws: Collection[str]) -> None:
        reasons = exemptions(kind)
        self.kind = kind
        self.verdicts = {
            law: Verdict(law, exempt=reasons.get(law, "")) for law in LAWS if law in laws
        }
        self.errors = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why a file could not be read."""
        if report.failed:
            self.errors += f"{report.longrepr}\n"

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[Any]) -> None:
        """Leave out what tests no method, and laws that are not asked for."""
        marks = [(item, item.get_closest_marker("law")) for item in items]
        items[:] = [item for item, mark in marks if mark and mark.args[0] in self.verdicts]
        for item in items:
            law = item.get_closest_marker("law").args[0]
            case = item.name.removeprefix(item.originalname).strip("[]")
            case = case.replace(self.kind.name, "").strip("-")
            words = item.originalname.removeprefix("test_").replace("_", " ")
            item.user_properties += [("law", law), ("said", f"{words} ({case})" if case else words)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that ran; a change of global state is seen after each."""
        said: Any = dict(report.user_properties)
        own = self.verdicts[said["law"]]
        verdict = self.verdicts.get("global state", own) if report.when == "teardown" else own
        if report.when == "call":
            verdict.tests += not report.skipped
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.partition("\n")[0] if crash else str(report.longrepr)
            verdict.broken.append(f"{said['said']}: {why}")
            verdict.traces.append(str(report.longreprtext))
