import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from expunge.errors import BadInput
from expunge.report.figure.curves import density
from expunge.report.figure.distributions import distributions
from expunge.report.figure.labels import apart, beside
from expunge.report.figure.pareto import pareto
from expunge.report.figure.strip import strip

from .documents import METHODS, document, evidence, regression, single, unmeasured

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_pareto_has_its_panels_levels_and_labels():
    found = texts(pareto(document()))
    for panel in ("Average", "Forget", "Retain", "Test"):
        assert panel in found
    assert {"null 0.66", "limit 1.66", "original 10.20", "≈ 0"} <= set(found)
    assert found.count("one retraining") == 4
    assert found.count("fine-tune") == 5  # four panels and the legend
    assert found.count("dm-direct †") == 5  # free, and still there


def test_pareto_of_one_model_shows_distances_in_three_panels():
    found = texts(pareto(single()))
    assert "Average" not in found
    assert found.count("Distance") == 3
    assert found.count("dmm") == 4


def test_pareto_of_nothing_is_nothing():
    assert pareto(unmeasured()) == ""


def test_pareto_leaves_refused_methods_out():
    made = document(("dmm", "fine-tune"))
    made["methods"]["dmm"] |= {"changed": 0.0}
    assert not any("dmm" in text for text in texts(pareto(made)))


def test_pareto_of_a_diverged_model_is_logarithmic():
    made = single("not supported", (400.0, 300.0, 350.0))
    assert any("10" in text for text in texts(pareto(made)))


def test_figures_are_named_for_those_who_do_not_see_them():
    label = ElementTree.fromstring(pareto(document(("dmm",)))).attrib["aria-label"]
    assert "dmm: cost 0.20, forget 1.60 ±0.12" in label
    proof = evidence(("dmm",))
    assert "row 1" in distributions(document(("dmm",)), proof, "dmm")
    assert "within two standard deviations: dmm" in strip(document(("dmm",)), proof)


def test_distributions_show_row_label_and_metric():
    found = texts(distributions(document(("fine-tune",)), evidence(("fine-tune",)), "fine-tune"))
    rows = [text for text in found if text.startswith("Row ")]
    assert len(rows) == 4
    assert all(re.fullmatch(r"Row \d{3}", row) for row in rows)
    assert sum(bool(re.fullmatch(r"label \d  ·  KLoM \d+\.\d\d", text)) for text in found) == 4
    assert {"before", "after", "retrained without the row"} <= set(found)


def test_pictures_are_shown_where_there_are_any():
    made = document(("dmm",))
    assert distributions(made, evidence(("dmm",)), "dmm").count("data:image/png") == 4
    without = evidence(("dmm",), pictures=False)
    assert "data:image" not in distributions(made, without, "dmm")


def test_one_model_is_a_line():
    svg = distributions(single(), evidence(("dmm",), members=1), "dmm")
    assert sum(text.endswith("sd away") for text in texts(svg)) == 4


@pytest.mark.parametrize("members", [20, 1000])
def test_any_number_of_members_and_few_rows(members):
    proof = evidence(("dmm",), members=members, rows=2)
    made = document(("dmm",))
    made["methods"]["dmm"]["models_used"] = members
    assert len([t for t in texts(distributions(made, proof, "dmm")) if "Row" in t]) == 2


def test_a_row_of_equal_margins_is_drawn():
    proof = evidence(("dmm",), members=60, rows=3)
    for models in (proof.original, proof.oracle, proof.unlearned["dmm"]):
        models["forget"][:] = 1.0
    assert "Row" in distributions(document(("dmm",)), proof, "dmm")
    assert "dmm" in strip(document(("dmm",)), proof)


def test_regression_shows_targets():
    proof = evidence(("oracle-matching",), kind="regression", pictures=False)
    found = texts(distributions(regression(), proof, "oracle-matching"))
    assert any(text.startswith("target ") for text in found)


def test_distributions_need_evidence():
    with pytest.raises(BadInput, match="no evidence on the method 'dmm'"):
        distributions(document(("dmm",)), evidence(("fine-tune",)), "dmm")


def test_refused_methods_are_not_drawn():
    made = document(("dmm",))
    made["methods"]["dmm"] |= {"changed": 0.0}
    proof = evidence(("dmm",))
    assert distributions(made, proof, "dmm") == strip(made, proof) == ""


def test_strip_has_a_panel_a_method_with_its_verdict():
    found = texts(strip(document(), evidence()))
    assert set(METHODS) <= set(found)
    assert found.count("✗ not supported") == 4


def test_strip_thins_out_many_rows():
    proof = evidence(("dmm",), rows=3000, members=20)
    assert len(strip(document(("dmm",)), proof)) < 60_000


def test_equal_input_gives_equal_bytes_whatever_the_settings():
    proof = evidence(("dmm",))
    made = document(("dmm",))

    def draw():
        return pareto(made) + strip(made, proof) + distributions(made, proof, "dmm")

    first = draw()
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.fonttype": "path"}):
        settings = dict(mpl.rcParams)
        assert draw() == first
        assert dict(mpl.rcParams) == settings


def test_dollars_and_markup_in_names_are_text():
    made = document(("dmm",))
    made["methods"] = {"$x^2$ <script>": made["methods"]["dmm"]}
    svg = pareto(made)
    assert "<script" not in svg
    assert any("$x^2$ <script>" in text for text in texts(svg))


@pytest.mark.filterwarnings("error")
def test_names_in_any_script_and_with_control_characters_are_drawn():
    made, proof = document(("dmm",)), evidence(("dmm",))
    name = "忘却\x00\n法"
    made["methods"] = {name: made["methods"]["dmm"]}
    proof.unlearned[name] = proof.unlearned.pop("dmm")
    assert any("忘却  法" in text for text in texts(pareto(made)))
    assert "忘却  法" in texts(strip(made, proof))
    assert "Row" in distributions(made, proof, name)


def test_ids_of_two_figures_are_disjoint():
    found = [
        set(re.findall(r' id="([^"]+)"', pareto(made)))
        for made in (document(("dmm",)), document(("fine-tune",)))
    ]
    assert all(found)
    assert not found[0] & found[1]
    svg = pareto(document())
    ids = set(re.findall(r' id="([^"]+)"', svg))
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= ids
    assert set(re.findall(r'href="#([^"]+)"', svg)) <= ids


def test_labels_never_cover_anything():
    figure = Figure(figsize=(4, 3), dpi=72)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    points = [(0.5 + 0.01 * i, 0.5 + 0.005 * i) for i in range(9)]
    names = [f"method-{i}" for i in range(9)]
    dropped = beside(axes, points, names, [(y, y) for _, y in points], levels=[0.5])
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) + len(dropped) == 9
    assert len(dropped) <= 1
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    dots = axes.transData.transform(points)
    assert not any(box.contains(*dot) for box in boxes for dot in dots)


def test_levels_are_kept_apart_in_order():
    placed = apart([0.5, 0.1, 0.5, 0.98], 0.1, 0.0, 1.0)
    assert placed == pytest.approx([0.5, 0.1, 0.6, 0.98])
    assert apart([0.99, 1.0], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0])


def test_density_peaks_where_the_sample_is():
    grid = np.linspace(-4, 4, 81)
    found = density(np.random.default_rng(0).normal(1, 0.5, 400), grid)
    assert found.max() == 1
    assert abs(grid[found.argmax()] - 1) < 0.3


def test_a_label_is_nearest_to_its_own_point():
    figure = Figure(figsize=(4, 3), dpi=72)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    points = [(0.6, 0.5), (0.85, 0.5)]  # too near the right edge for a text at the right
    assert beside(axes, points, ["first", "second"], [(0.5, 0.5)] * 2) == []
    renderer = FigureCanvasAgg(figure).get_renderer()
    centres = axes.transData.transform(points)
    for i, text in enumerate(axes.texts):
        box = text.get_window_extent(renderer)
        gaps = [
            np.hypot(
                max(box.x0 - x, 0, x - box.x1),
                max(box.y0 - y, 0, y - box.y1),
            )
            for x, y in centres
        ]
        assert np.argmin(gaps) == i
