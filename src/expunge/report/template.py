"""From a template to HTML that needs neither network nor scripts."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from expunge.report.excerpts import Excerpt

_ENVIRONMENT = Environment(
    loader=PackageLoader("expunge", "report"),
    autoescape=True,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


@dataclass(frozen=True)
class Drawing:
    """A figure drawn twice, for a wide and for a narrow window; a style sheet shows one.

    Attributes:
        heading: what it shows, in a few words.
        caption: how to read it.
        wide: SVG of this package.
        narrow: the same for a narrow window.
        excerpts: the rows that it shows, in words.
    """

    heading: str
    caption: str
    wide: str
    narrow: str
    excerpts: tuple[Excerpt, ...] = ()


def render(template: str, **content: object) -> str:
    """Fill a template of this folder; all text is escaped, and equal input gives equal bytes.

    Args:
        template: its path.
        content: what it names.
    """
    return _ENVIRONMENT.get_template(template).render(content)
