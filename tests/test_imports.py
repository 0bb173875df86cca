"""The import law of the rooms (docs/architecture.md), docstrings, and a start without torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from expunge.methods import METHODS

ROOT = Path(__file__).parents[1] / "src" / "expunge"
FILES = sorted(ROOT.rglob("*.py"))
SUITE = [path for path in FILES if path.parent.name == "contract" and path.name[:5] == "test_"]

# A module imports modules of a lower rank, of its own rank, or of its own room.
RANKS = [
    {"errors", "rng", "registry"},
    {"store", "fanout"},
    {"data"},
    {"problem"},
    {"engine"},
    {"curvature"},
    {"training"},
    {"methods", "attribution", "probes", "forget_sets"},
    {"api"},
    {"zoo", "bench"},
    {"contract"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
STRANGERS = RANKS[7]  # none imports another; elsewhere a rank may, but never in a circle
APART = {  # what the examiner may know
    "audit": {"audit", "errors"},
    "report": {"report", "audit", "errors"},
}
ALLOWED = {("problem", "audit.evidence.margin")}
ABOVE = {"api", "zoo", "bench", "contract", "cli"}  # may import the examiner


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [_submodule(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        found |= {n.removeprefix("expunge.") for n in names if n.startswith("expunge.")}
    return found


def _submodule(module: str, name: str) -> str:
    """`module.name` if that is a module of its own, else `module`."""
    place = ROOT.joinpath(*module.split(".")[1:], name)
    return f"{module}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else module


def allowed(importer: str, module: str) -> bool:
    target = module.split(".")[0]
    if importer in APART:
        return target in APART[importer]
    if target == importer or target == "__version__" or (importer, module) in ALLOWED:
        return True
    if target in APART:
        return importer in ABOVE
    same = RANK[target] == RANK[importer] and importer not in STRANGERS
    return RANK[target] < RANK[importer] or same


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    importer = room(path)
    if importer in ("__init__", "__main__"):
        return
    assert importer in RANK or importer in APART, f"a new room: give '{importer}' a rank"
    wrong = {module for module in imports(path) if not allowed(importer, module)}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


def test_modules_import_each_other_in_no_circle():
    """Also within a room."""
    graph = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): imports(p)
        for p in FILES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_the_root_is_no_corridor():
    """A module has a room; beside the rooms stand what users type and what all rooms know."""
    beside = {path.stem for path in ROOT.glob("*.py")}
    assert beside == {"__init__", "__main__", "errors", "rng"}
    assert len(RANKS) <= 12


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)


def test_only_the_contract_suite_needs_pytest():
    tools = re.compile(r"^\s*(import|from) (pytest|_pytest|hypothesis)\b", re.MULTILINE)
    found = {room(path) for path in FILES if tools.search(path.read_text())}
    assert found == {"contract"}


def test_help_needs_no_torch():
    code = (
        "import sys, expunge\n"
        "from expunge.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "app(['forget', '--help'], standalone_mode=False)\n"
        "print([name in sys.modules for name in ('torch', 'numpy', 'matplotlib', 'pytest')])"
    )
    shown = run("-c", code).stdout
    assert "--half-models" in shown
    assert shown.endswith("[False, False, False, False]\n")


def test_importing_draws_nothing_and_sets_nothing():
    code = (
        "import numpy, torch\n"
        "before = torch.get_rng_state(), str(numpy.random.get_state()), torch.get_num_threads()\n"
        "from expunge import *\n"
        "import expunge\n"
        "assert torch.equal(before[0], torch.get_rng_state())\n"
        "assert before[1:] == (str(numpy.random.get_state()), torch.get_num_threads())\n"
        "assert torch.get_default_dtype() == torch.float32\n"
        "print(sorted(expunge.__all__))"
    )
    assert "'forget'" in run("-c", code).stdout


def test_every_public_name_can_be_imported():
    import expunge

    for name in expunge.__all__:
        assert getattr(expunge, name) is not None
    assert callable(expunge.audit)  # the function, although a room has the same name
    with pytest.raises(AttributeError, match="attribute forgte"):
        expunge.forgte  # noqa: B018


DOCUMENTED = [path for path in FILES if path not in SUITE]  # the names of tests are sentences


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda p: str(p.relative_to(ROOT)))
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module itself"

    def walk(node, prefix, protocol):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                continue
            name = f"{prefix}{child.name}"
            public = not child.name.startswith("_") or (child.name == "__call__" and not protocol)
            if public and not (protocol and child.name == "__len__"):
                assert ast.get_docstring(child), name
            if public and isinstance(child, ast.ClassDef):
                bases = {getattr(base, "id", "") for base in child.bases}
                walk(child, f"{name}.", "Protocol" in bases)

    walk(tree, "", False)


@pytest.mark.parametrize("name", METHODS.own)
def test_a_method_is_named_after_its_file(name):
    module = METHODS[name].__module__
    assert module == f"expunge.methods.{name.replace('-', '_')}"


def test_every_method_file_is_in_the_table():
    named = re.compile(r"^    claim: ClassVar\[Claim\] = ", re.MULTILINE)
    files = {p.stem for p in (ROOT / "methods").glob("*.py") if named.search(p.read_text())}
    assert files == {name.replace("-", "_") for name in METHODS.own}
