"""Tables, figures and the page of a benchmark, from plain numbers.

Nothing is measured here. Each figure function returns SVG; its companion `draw_...` returns the
matplotlib figure for a PNG or a PDF.
"""

from expunge.report.bench.frontier import draw_frontier as draw_frontier
from expunge.report.bench.frontier import frontier as frontier
from expunge.report.bench.grid import Cell as Cell
from expunge.report.bench.grid import Grid as Grid
from expunge.report.bench.grid import Line as Line
from expunge.report.bench.instability import draw_instability as draw_instability
from expunge.report.bench.instability import instability as instability
from expunge.report.bench.page import Drawing as Drawing
from expunge.report.bench.page import page as page
from expunge.report.bench.stopping import Run as Run
from expunge.report.bench.stopping import draw_stopping as draw_stopping
from expunge.report.bench.stopping import stopping as stopping
from expunge.report.bench.table import html as html
from expunge.report.bench.table import latex as latex
from expunge.report.bench.table import markdown as markdown
from expunge.report.bench.trial import Point as Point
