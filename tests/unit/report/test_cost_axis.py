import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from expunge.report.figure.canvas import look, panel_title
from expunge.report.figure.cost_axis import CostAxis


def test_the_axis_has_room_for_what_is_free_and_what_is_dear():
    axis = CostAxis.of([0.0, 0.004, 3.0])
    assert axis.place(0.0) == axis.place(5e-5) < 10**axis.low == 1e-3
    assert 10**axis.high > 3.0
    assert axis.place(0.5) == 0.5
    assert not CostAxis.of([0.5]).free


@pytest.mark.parametrize(
    "costs", [[1.0], [0.0, 0.01, 1.0], [0.5, 3.0], [2e-4, 40.0], [0.0, 2e-4, 40.0], [0.5, 900.0]]
)
def test_words_of_the_axis_never_cover_each_other(costs):
    with look("axis"):
        figure = Figure(figsize=(4, 3), dpi=72)
        axes = figure.add_axes((0.15, 0.15, 2.25 / 4, 2.3 / 3))  # as small as panels are
        CostAxis.of(costs).draw(axes)
        panel_title(axes, "Mean of three")
        figure.draw(FigureCanvasAgg(figure).get_renderer())
    ticks = [label for label in axes.get_xticklabels() if label.get_text()]
    assert "1" in {label.get_text() for label in ticks}
    for words in (ticks, [*axes.texts, axes.title, axes._left_title]):
        boxes = [one.get_window_extent() for one in words if one.get_text()]
        assert len(boxes) > 1
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    (note,) = axes.texts
    assert note.get_window_extent().x1 <= axes.get_window_extent().x1 + 3
