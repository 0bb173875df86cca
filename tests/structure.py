"""`python tests/structure.py`: lines, rooms and arrows of src, as docs/architecture.md has them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src"


def parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT / "expunge").with_suffix("").parts


def imported(path: Path) -> set[str]:
    """Rooms of this package that a file imports from, at its top or inside."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    names = [f"{n.module}.{alias.name}".split(".") for n in nodes for alias in n.names]
    return {name[1] for name in names if name[0] == "expunge" and len(name) > 1}


def measured() -> dict[str, int]:
    """Lines of code (neither blank nor comment), files, rooms, arrows between rooms."""
    files = sorted((ROOT / "expunge").rglob("*.py"))
    lines = [line.strip() for path in files for line in path.read_text().splitlines()]
    code = sum(1 for line in lines if line and not line.startswith("#"))
    rooms = {parts(path)[0] for path in files}
    arrows = {(parts(path)[0], room) for path in files for room in imported(path)}
    return {
        "lines of code": code,
        "files": len(files),
        "rooms": len(rooms),
        "arrows": len({(a, b) for a, b in arrows if a != b and b in rooms}),
    }


if __name__ == "__main__":
    for name, count in measured().items():
        print(f"{name:14} {count:6,}")
