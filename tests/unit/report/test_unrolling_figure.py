"""The figures of unrolling: what they show, in bytes that follow from the numbers alone."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from expunge.report.figure.canvas import AFTER
from expunge.report.figure.unrolling import against, along, tracked

SVG = "{http://www.w3.org/2000/svg}"


def measurements(members=3, steps=(10, 20, 40), scale=1.0):
    return [
        {
            "steps": at,
            "verification": [scale * at * (1 + 0.1 * k) for k in range(members)],
            "nothing": [2 * scale * at + k for k in range(members)],
            **{form: [f * at + k for k in range(members)] for f, form in enumerate(FORMS, 1)},
        }
        for at in steps
    ]


FORMS = ("strict", "paper", "code")
WAY = [
    {"steps": at, "strict": 3.0 * at, "distance": at**0.5, "sigma": 7.0 + at} for at in (5, 10, 15)
]


def texts(svg):
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def label(svg):
    return ElementTree.fromstring(svg).attrib["aria-label"]


def paths(svg, colour):
    found = ElementTree.fromstring(svg).iter(f"{SVG}path")
    return [e.attrib["d"] for e in found if f"stroke: {colour}" in e.attrib.get("style", "")]


def test_along_names_both_lines_and_says_the_end():
    found = texts(along(measurements()))
    assert {"the model as it is", "after single-gradient unlearning"} <= set(found)
    assert {"steps of training", "L2 distance of weights", "How far from naive retraining"} <= {
        *found
    }
    assert "verification error, 3 trainings and their mean" in found
    # means at 40 steps: 40 x 1.1, and 80 + 1
    assert "at the end 44.00 after single-gradient unlearning, 81.00 without" in label(
        along(measurements())
    )


def test_along_has_a_line_for_each_member_and_the_mean():
    lines = [d for d in paths(along(measurements(members=5)), AFTER) if d.count("L") == 2]
    assert len(lines) == 5 + 1 + 1  # and one in the legend


def test_against_has_a_mark_for_each_member_and_look():
    for form in FORMS:
        svg = against(measurements(), form)
        assert f"unlearning error, {form} form" in texts(svg)
        assert label(svg) == f"Verification error against {form} form."
        assert "verification error" in texts(svg)
        marks = [e for e in ElementTree.fromstring(svg).iter(f"{SVG}use") if "fill" in style(e)]
        assert len([e for e in marks if "stroke" not in style(e)]) == 9
    assert against(measurements()) == against(measurements(), "strict")
    assert against(measurements(), "paper") != against(measurements(), "code")


def style(element):
    return element.attrib.get("style", "")


def test_tracked_has_the_error_and_its_two_factors():
    found = texts(tracked(WAY))
    assert {"Unlearning error", "Way gone", "Curvature"} <= set(found)
    assert found.count("steps of training") == 3
    assert "at the end 45.00" in label(tracked(WAY))


def test_equal_input_gives_equal_bytes_whatever_the_settings():
    def draw():
        return along(measurements()) + against(measurements()) + tracked(WAY)

    first = draw()
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert draw() == first
    assert along(measurements(scale=2.0)) + against(measurements()) + tracked(WAY) != first


def test_names_are_escaped():
    strange = 'a < b & "c"'
    svg = against([{**one, strange: one["strict"]} for one in measurements()], strange)
    assert f"unlearning error, {strange} form" in texts(svg)  # it parses, and reads as it was
    assert "a < b &" not in svg


@pytest.mark.parametrize("draw", [along, against])
def test_one_training_and_one_look_are_drawn(draw):
    assert texts(draw(measurements(members=1, steps=(7,))))


def test_what_never_moved_is_drawn():
    still = [{**one, "strict": [0.0] * 3, "verification": [0.0] * 3} for one in measurements()]
    assert texts(along(still))
    assert texts(against(still))
    flat = [{"steps": 3, "strict": 0.0, "distance": 0.0, "sigma": 0.0}]
    assert "at the end 0." in label(tracked(flat))


def test_large_numbers_stay_within_the_picture():
    huge = [{**one, "strict": 1e9 * one["strict"], "sigma": 1e-7 * one["sigma"]} for one in WAY]
    numbers = [text for text in texts(tracked(huge)) if re.match(r"^[\d.]", text)]
    assert max(map(len, numbers)) <= 7
