"""What benchmarks of dmm against other methods choose: by tuning, within a budget."""

import pytest

from benchmarks.matching import rivals

NAME = "a set"


def content(*trials, kind="ssd"):
    """bench.json of one method, from (setting, tuning's score, cost, the judges' KLoM)."""
    entry = {"forget_set": NAME, "method": kind}
    made = [
        {
            "settings": {"alpha": alpha},
            "scores": {} if score is None else {"oracle": score},
            "cost": {} if score is None else {"relative_to_retrain": cost},
        }
        for alpha, score, cost, _ in trials
    ]
    cells = [
        {
            **entry,
            "settings": {"alpha": alpha},
            "scores": {"KLoM": {"value": klom, "se": {"mean": 0.1}, "hidden": False}},
            "cost": {"relative_to_retrain": cost},
        }
        for alpha, score, cost, klom in trials
        if score is not None
    ]
    candidates = [{"label": kind, "name": kind}]
    choices = [{**entry, "trials": made}]
    return {"config": {"candidates": candidates}, "choices": choices, "cells": cells}


MADE = content((1, 2.0, 0.05, 2.5), (2, 1.0, 0.2, 1.5), (3, None, 0.01, 0.1))


@pytest.mark.parametrize(("budget", "alpha"), [(0.1, 1), (0.2, 2), (1.0, 2)])
def test_tuning_chooses_within_the_budget_and_a_trial_that_failed_is_none(budget, alpha):
    found = rivals.chosen(MADE, NAME, ["ssd"], budget)
    assert found.settings == {"alpha": alpha}
    assert (found.label, found.klom) == ("ssd", {1: 2.5, 2: 1.5}[alpha])
    assert rivals.table(MADE, [NAME], (budget,))[NAME]["ssd"][str(budget)] == found[:4]


def test_where_nothing_is_affordable_there_is_nothing():
    assert rivals.chosen(MADE, NAME, ["ssd"], 0.01) is None
    assert rivals.best_rival(MADE, NAME, 0.01) is None


@pytest.mark.parametrize(("budget", "holds"), [(0.1, False), (0.2, True)])
def test_the_claim_of_cost_can_fail(budget, holds):
    claim = rivals.cheap(MADE, NAME, ["ssd"], budget)
    assert (claim["value"], claim["holds"]) == (0.2, holds)


def test_of_rivals_the_judges_choose_but_not_among_trials():
    """The trial that judges like best, at 0.05, is not the one that tuning chose."""
    made = content((1, 2.0, 0.05, 0.5), (2, 1.0, 0.2, 1.5))
    assert rivals.best_rival(made, NAME, 1.0).klom == 1.5
    ours = rivals.Chosen("dmm", 0.1, 1.0, 0.1, {})
    assert rivals.less("", ours, rivals.best_rival(made, NAME, 1.0), NAME)["value"] == -0.5
