"""The formulae of benchmarks/scale/cluster_queue.py against its simulation and plain cases."""

from dataclasses import replace
from math import ceil, exp, inf
from statistics import fmean, stdev

import numpy as np
import pytest

from benchmarks.scale import cluster_queue as queues
from benchmarks.scale.cluster_queue import Queue

HOUR = 3600.0
SPOT = Queue(32, 320, 4 * HOUR, between=24 * HOUR, restart=300.0)
KEPT = replace(SPOT, every=60.0, checkpoint=3.0)


def runs(queue, count=40):
    return [queues.simulate(queue, seed) for seed in range(count)]


@pytest.mark.parametrize("tasks", [1, 7, 8, 9, 80])
def test_equal_tasks_without_failures_take_whole_rounds(tasks):
    queue = Queue(8, tasks, 100.0, spread=0.0)
    (found,) = runs(queue, 1)
    assert found.makespan == pytest.approx(100.0 * ceil(tasks / 8))
    assert queues.makespan(queue) == pytest.approx(found.makespan)
    assert (found.busy, found.failures) == (pytest.approx(100.0 * tasks), 0)


def test_work_is_spread_and_stragglers_are_slower_as_said():
    queue = Queue(1, 1, 100.0, spread=0.3, slow=0.1, factor=3.0)
    found = queues.durations(queue, 200_000, np.random.default_rng(0))
    plain = queues.durations(replace(queue, slow=0.0), 200_000, np.random.default_rng(0))
    # five standard errors of the mean; the log-normal's spread is relative and in logarithms
    assert found.mean() == pytest.approx(queue.mean, abs=5 * found.std() / 200_000**0.5)
    assert queue.mean == pytest.approx(120.0)
    assert np.log(plain).std() == pytest.approx(0.3, abs=0.003)


@pytest.mark.parametrize("queue", [SPOT, KEPT, replace(SPOT, between=6 * HOUR)])
def test_a_task_takes_what_renewal_theory_says(queue):
    spent = [(o.busy + o.failures * queue.restart) / queue.tasks for o in runs(queue)]
    error = stdev(spent) / len(spent) ** 0.5
    assert fmean(spent) == pytest.approx(queues.expected_seconds(queue), abs=5 * error + 1.0)


def test_without_checkpoints_the_expectation_is_the_known_formula():
    queue = Queue(1, 1, 2.0, spread=0.0, between=1.0, restart=0.5)
    assert queues.expected_seconds(queue) == pytest.approx(1.5 * (exp(2.0) - 1))
    # no piece is longer than the task: a checkpoint after its end changes nothing
    late = replace(queue, every=5.0, checkpoint=0.0)
    assert queues.expected_seconds(late) == pytest.approx(queues.expected_seconds(queue))
    # 2 pieces of 0.8 and a rest of 0.4, each with its share of the checkpoints
    some = replace(queue, every=0.8, checkpoint=0.1)
    known = 1.5 * (2 * (exp(0.9) - 1) + exp(0.45) - 1)
    assert queues.expected_seconds(some) == pytest.approx(known)


@pytest.mark.parametrize(
    "queue",
    [
        replace(SPOT, between=inf),
        SPOT,
        KEPT,
        replace(KEPT, slow=0.02, factor=3.0),
        replace(SPOT, tasks=32),
        replace(KEPT, tasks=32),
    ],
)
def test_the_makespan_is_within_five_per_cent_of_the_simulated_one(queue):
    found = [o.makespan for o in runs(queue, 100)]
    error = stdev(found) / len(found) ** 0.5
    formula = queues.makespan(queue)
    assert fmean(found) == pytest.approx(formula, abs=0.03 * formula + 4 * error)


@pytest.mark.parametrize("queue", [SPOT, KEPT])
def test_the_share_of_tasks_given_up_is_as_the_formula_says(queue):
    queue = replace(queue, seconds=14 * HOUR, attempts=3, tasks=1000)
    shares = [o.given_up / queue.tasks for o in runs(queue, 10)]
    share = queues.given_up_share(queue)
    assert share > 0.01
    # four standard errors of a binomial share
    assert fmean(shares) == pytest.approx(share, abs=4 * (share / 10_000) ** 0.5)
    assert not any(o.given_up for o in runs(replace(queue, attempts=None), 2))


def test_young_is_right_about_the_best_time_between_checkpoints():
    queue = Queue(1, 1, 100 * HOUR, spread=0.0, between=24 * HOUR, checkpoint=60.0)
    best = queues.best_interval(60.0, 24 * HOUR)
    tried = {t: queues.overhead(replace(queue, every=t * best)) for t in (0.25, 0.5, 1, 2, 4)}
    assert min(tried, key=tried.__getitem__) == 1
