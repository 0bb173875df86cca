import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
import torch

from expunge.report.figure.predicted import choose, predicted

SVG = "{http://www.w3.org/2000/svg}"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def made(models=30, rows=12, oracles=25):
    change = -torch.arange(rows).double()
    null = 5 + draw(models, rows, seed=1)
    return null, null + change + 0.5, 5 + change + draw(oracles, rows, seed=2)


def elements(svg, kind):
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{kind}"))


def texts(svg):
    return ["".join(e.itertext()) for e in elements(svg, "text")]


def drawn(svg, colour):
    """Paths in a colour without those of the legend, which are short."""
    paths = [e for e in elements(svg, "path") if f"stroke: {colour}" in e.attrib.get("style", "")]
    return [e.attrib["d"] for e in paths]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_panel_a_row_with_its_changes(count):
    null, shifted, oracle = made()
    rows = [11, 4, 7, 0, 2, 9][:count]
    names = [f"Row {100 + row}, class {row % 3}" for row in rows]
    found = texts(predicted(null, shifted, oracle, rows, names))
    assert set(names) <= set(found)
    assert found.count("margin, nats") == count
    assert {"original", "predicted", "retrained"} <= set(found)
    true = float(oracle[:, 11].mean() - null[:, 11].mean())
    assert f"predicted −10.50, true −{-true:.2f}" in found


def test_a_rise_and_a_fall_have_their_signs():
    null, shifted, oracle = made()
    found = texts(predicted(null, shifted, 3 * null.mean(0) - oracle, [0], ["x"]))
    assert any(text.startswith("predicted +0.50, true +") for text in found)


def test_curves_are_where_the_models_are():
    # the solid curve must lie on the filled one, and the dashed one apart from both
    null, _, oracle = made(rows=12)
    svg = predicted(null, oracle, oracle, [11], ["x"])

    def peak(path):
        numbers = [float(x) for x in path.replace("M", " ").replace("L", " ").split()]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        return min(points, key=lambda p: p[1])[0]

    (before, after) = (peak(max(drawn(svg, colour), key=len)) for colour in ("#b4520a", "#0b57a4"))
    assert after < before - 100


def test_few_models_are_lines():
    null, shifted, oracle = made(models=5)
    svg = predicted(null, shifted, oracle, [3], ["x"])
    assert len(drawn(svg, "#0b57a4")) == 5 + 1  # and one in the legend
    assert len(drawn(svg, "#b4520a")) == 5 + 1


def test_equal_margins_are_drawn():
    same = torch.ones(9, 2)
    svg = predicted(same, same, same, [1], ["x"])
    assert "predicted 0, true 0" in texts(svg)


def test_chosen_rows_go_from_the_largest_change_to_the_middle():
    null, _, oracle = made()
    assert choose(null, oracle, 1) == [11]
    assert choose(null, oracle, 3) == [11, 8, 5]
    assert choose(null, -oracle + 10, 3) == [11, 8, 5]  # whatever the sign
    few = choose(null[:, :3], oracle[:, :3], 6)
    assert few == [2, 1]
    assert choose(null[:, :1], oracle[:, :1]) == [0]
    assert choose(null[:, :0], oracle[:, :0]) == []


def test_it_is_narrow_enough_for_a_page_and_said_to_those_who_do_not_see_it():
    null, shifted, oracle = made()
    found = ElementTree.fromstring(predicted(null, shifted, oracle, [1, 2, 3], ["a", "b", "c"]))
    assert 240 < float(found.attrib["width"]) <= 480
    assert "b: mean margin" in found.attrib["aria-label"]


def test_equal_input_gives_equal_bytes_whatever_the_settings():
    null, shifted, oracle = made()
    first = predicted(null, shifted, oracle, [1, 2], ["a", "b"])
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert predicted(null, shifted, oracle, [1, 2], ["a", "b"]) == first
