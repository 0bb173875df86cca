"""One look for all figures, and the way from a matplotlib figure to SVG that a page can hold."""

import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from hashlib import sha256
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

P = ParamSpec("P")

INK, MUTED, FAINT, RULE = "#1d1d1f", "#62656a", "#9a9da1", "#e4e4e1"
BEFORE, AFTER, ORACLE = "#b4520a", "#0b57a4", "#8a8d91"
# Okabe and Ito's colours, yellow left out: it vanishes on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#4d4d4d", "#7b3294")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LONGEST = 24  # characters of a name that a figure has room for
INCH = 72  # SVG units an inch: matplotlib's SVG canvas has 72 dots an inch

SETTINGS = {
    "svg.fonttype": "none",  # text stays text: searchable, selectable, small
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # names come from users: "$" is a dollar
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
}


@contextmanager
def look(name: str) -> Iterator[None]:
    """The figures' settings for the time of a `with`; `name` seeds the ids inside the SVG."""
    # From the defaults, not from the user's matplotlibrc: equal input, equal bytes. The backend
    # is left alone because rc_context does not put it back.
    settings: Any = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
    settings |= {**SETTINGS, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # What the measuring font lacks, the reader's browser has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def drawing(draw: Callable[P, tuple[Figure, str] | None]) -> Callable[P, str]:
    """Make a function that draws one that returns SVG; "" where there is nothing to draw.

    `draw` runs under `look` and returns the figure, with words for those who do not see it. Equal
    input gives equal bytes.
    """
    name = draw.__name__

    @wraps(draw)
    def made(*args: P.args, **kwargs: P.kwargs) -> str:
        with look(name):
            drawn = draw(*args, **kwargs)
            return "" if drawn is None else svg(drawn[0], name, drawn[1])

    return made


def shorten(name: str) -> str:
    """A name cut to the room that a figure has, on one line."""
    name = _printable(name)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def panel_title(axes: Axes, text: str, detail: str = "") -> None:
    """A bold heading above the left end of a panel, with a muted line below it."""
    axes.set_title(text, loc="left", fontsize=9.5, fontweight="bold", pad=17 if detail else 6)
    if detail:
        axes.annotate(
            detail, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=8, color=MUTED
        )


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as one `<svg>` element.

    Args:
        figure: drawn under `look(name)`.
        name: begins every id; with a digest after it, several figures can stand in one page.
        label: what the figure shows, for those who do not see it.

    Returns:
        SVG without declarations, metadata or addresses; equal figures give equal text.
    """
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    root = ElementTree.fromstring(drawn)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("metadata"):
                parent.remove(child)
    prefix = f"{name}-{sha256(drawn + label.encode()).hexdigest()[:8]}"
    renamed = {
        old: f"{prefix}-{index}"
        for index, old in enumerate(e.attrib["id"] for e in root.iter() if "id" in e.attrib)
    }
    for element in root.iter():
        element.tag = _local(element.tag)
        for key in list(element.attrib):
            element.set(_local(key), _point(element.attrib.pop(key), key, renamed))
    width, height = (size * INCH for size in figure.get_size_inches())
    for key, value in {
        "xmlns": "http://www.w3.org/2000/svg",
        "width": f"{width:g}",
        "height": f"{height:g}",
        "role": "img",
        "aria-label": _printable(label),
    }.items():
        root.set(key, value)
    return ElementTree.tostring(root, encoding="unicode")


def _printable(text: str) -> str:
    """Without control characters, which XML cannot hold at all."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _point(value: str, key: str, renamed: dict[str, str]) -> str:
    """An attribute with the ids in it renamed."""
    if key == "id":
        return renamed[value]
    if value.startswith("#") and value[1:] in renamed:
        return "#" + renamed[value[1:]]
    if value.startswith("url(#") and value[5:-1] in renamed:
        return f"url(#{renamed[value[5:-1]]})"
    return value
