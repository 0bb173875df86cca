"""Runs each law on the methods that must obey it: all of METHODS, or the one that is checked."""

from expunge.contract.cases import exemptions
from expunge.contract.check import Check
from expunge.contract.fixtures import (  # noqa: F401 (pytest finds fixtures by their names here)
    global_state_is_left_alone,
    group_sizes_are_hardly_timed,
    no_page,
    problem,
    runtime,
)
from expunge.methods import METHODS


def pytest_configure(config):
    """Make the mark known."""
    config.addinivalue_line("markers", "law(names): the law of LAWS that a test belongs to")


def pytest_generate_tests(metafunc):
    """Hand a test its methods: one after the other as `kind`, or all at once as `kinds`."""
    plugins = metafunc.config.pluginmanager.get_plugins()
    kinds = [p.kind for p in plugins if isinstance(p, Check)] or [*METHODS.values()]
    mark = metafunc.definition.get_closest_marker("law")
    if mark is None:
        return
    exempt, of = mark.kwargs["exempt"], mark.kwargs["of"] or (lambda kind: True)
    first = mark.args[0]
    kinds = [
        kind
        for kind in kinds
        if of(kind)
        and (first in exemptions(kind) if exempt else not exemptions(kind).keys() & {*mark.args})
    ]
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", kinds, ids=[kind.name for kind in kinds])
    else:
        metafunc.parametrize("kinds", [kinds] if kinds else [], ids=["all"] if kinds else [])
