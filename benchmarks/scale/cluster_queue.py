"""A queue of trainings on a cluster whose workers fail: formulae and a simulation to check them.

G workers take N tasks from one queue. A task runs for d seconds on average, spread by a log-normal
factor; a share of the tasks is slower by a factor. Workers fail as a Poisson process with mean M
seconds between failures of one worker, and are back after R seconds. What a failed worker ran
returns to the head of the queue, as in the Ray backend. Half-way checkpoints every T seconds, each
c seconds of work lost, keep what was done before the last one (`expunge.store.checkpoint`); without
them a task begins again.

One task spends on a worker, on average, restarts of the worker included (the memory of a Poisson
process is empty, so every piece of work between two checkpoints is such a task of its own):

    without checkpoints   (M + R) (e^(d/M) - 1)
    with them             (M + R) d/T (e^((T + c)/M) - 1)

The last of these, where d is a multiple of T (else the rest of d/T counts as a piece of its own),
is the expected time of Daly 2006 (doi 10.1016/j.future.2004.11.016), smallest near
T = sqrt(2 c M) (Young 1974). N tasks last N times that over G, and the tail: when the queue is
empty, workers end what they have one by one, and the last ends later than the mean does.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

POINTS = 20_000  # durations by which means over tasks are taken
IN_STEP = 0.1  # of a task: workers that are less apart end their rounds together
LEAST = 1e-9  # of a second: work that is done


@dataclass(frozen=True)
class Queue:
    """A cluster and its work; seconds."""

    workers: int  # G
    tasks: int  # N
    seconds: float  # d: of one task, stragglers aside
    spread: float = 0.1  # standard deviation of the log-normal factor
    slow: float = 0.0  # share of tasks that are stragglers
    factor: float = 1.0  # how much longer these take
    between: float = math.inf  # M: from one failure of a worker to its next
    restart: float = 0.0  # R: until a failed worker is back
    every: float | None = None  # T: seconds of work from one checkpoint to the next
    checkpoint: float = 0.0  # c: seconds that one takes
    attempts: int | None = None  # failures of one task after which it is given up; None: never

    @property
    def mean(self) -> float:
        """Seconds of a task, stragglers included."""
        return self.seconds * (1 + self.slow * (self.factor - 1))


@dataclass(frozen=True)
class Outcome:
    """What one run of a queue came to."""

    makespan: float  # seconds until the last task is done
    busy: float  # seconds of workers spent on tasks, what was lost included
    failures: int
    given_up: int  # tasks


def durations(queue: Queue, count: int, random: Generator) -> NDArray:
    """Seconds of so many tasks."""
    found = queue.seconds * random.lognormal(-(queue.spread**2) / 2, queue.spread, count)
    return np.where(random.random(count) < queue.slow, found * queue.factor, found)


def simulate(queue: Queue, seed: int) -> Outcome:
    """Run the queue once."""
    random = np.random.default_rng(seed)
    left = durations(queue, queue.tasks, random).tolist()  # work of each task that is not kept yet
    failed = [0] * queue.tasks
    waiting, idle = deque(range(queue.tasks)), deque(range(queue.workers))
    events: list[tuple[float, int, int]] = []  # when, worker, task; -1: the worker is back
    ends: dict[int, float] = {}  # by worker: seconds that its task will have run; below 0: fails
    clock = busy = 0.0
    failures = given_up = 0
    while waiting or events:
        while waiting and idle:
            task, worker = waiting.popleft(), idle.popleft()
            need = wall(queue, left[task])
            until = random.exponential(queue.between) if queue.between < math.inf else math.inf
            ends[worker] = need if until >= need else -until
            heappush(events, (clock + min(need, until), worker, task))
        now, worker, task = heappop(events)
        if task < 0:
            idle.append(worker)
            continue
        clock, ran = now, ends.pop(worker)
        busy += abs(ran)
        if ran >= 0:
            idle.append(worker)
            continue
        failures += 1
        failed[task] += 1
        left[task] = max(LEAST, left[task] - kept(queue, -ran))
        if queue.attempts is not None and failed[task] >= queue.attempts:
            given_up += 1
        else:
            waiting.appendleft(task)
        heappush(events, (clock + queue.restart, worker, -1))
    return Outcome(clock, busy, failures, given_up)


def wall(queue: Queue, work: float) -> float:
    """Seconds that so much work takes with its checkpoints, if nothing fails."""
    return work if queue.every is None else work * (1 + queue.checkpoint / queue.every)


def kept(queue: Queue, ran: float) -> float:
    """Work that lies in the last checkpoint after a task ran for so many seconds."""
    if queue.every is None:
        return 0.0
    return queue.every * (ran // (queue.every + queue.checkpoint))


def expected_seconds(queue: Queue, work: float | NDArray | None = None) -> float | NDArray:
    """Seconds of a worker that a task takes on average, restarts included; see the module.

    Args:
        queue: its spread and stragglers are taken into account where no work is given.
        work: seconds without any failure.
    """
    if work is None:
        return float(np.mean(expected_seconds(queue, quantiles(queue))))
    if queue.between == math.inf:
        return np.multiply(work, wall(queue, 1.0))
    each = queue.between + queue.restart
    if queue.every is None:
        return each * np.expm1(np.divide(work, queue.between))
    pieces = np.floor(np.divide(work, queue.every))
    rest = wall(queue, 1.0) * (work - pieces * queue.every)
    whole_pieces = pieces * np.expm1((queue.every + queue.checkpoint) / queue.between)
    return each * (whole_pieces + np.expm1(rest / queue.between))


def quantiles(queue: Queue) -> NDArray:
    """Durations of tasks, equally likely each; their mean is the queue's."""
    found = durations(queue, POINTS, np.random.default_rng(0))
    return found * (queue.mean / found.mean())


def overhead(queue: Queue) -> float:
    """What failures, restarts and checkpoints add, as a share of the work."""
    return float(expected_seconds(queue)) / queue.mean - 1


def makespan(queue: Queue) -> float:
    """Seconds until the last task is done, on average; for one round, or for five and more.

    Where nothing brings workers out of step, they begin and end together, and whole rounds count.
    In between, in two to four rounds, it may be a fifth longer than this says.
    """
    if queue.tasks <= queue.workers:
        return largest(whole(queue), queue.tasks)
    each = np.asarray(expected_seconds(queue, quantiles(queue)))
    mean, rounds = float(each.mean()), math.ceil(queue.tasks / queue.workers)
    apart = float(each.std()) / mean * math.sqrt(rounds)
    if queue.between < math.inf:
        apart += rounds * queue.mean / queue.between
    if apart < IN_STEP:
        return rounds * mean
    rest = rests(queue)
    return queue.tasks * mean / queue.workers + largest(rest, queue.workers) - float(rest.mean())


def rests(queue: Queue) -> NDArray:
    """What is left of the tasks that run when the queue becomes empty: seconds, equally likely.

    At a random moment a run is met with a chance as its length, anywhere along it (renewal
    theory). Without checkpoints some of these runs will fail, and begin again.
    """
    random = np.random.default_rng(1)
    if queue.every is not None or queue.between == math.inf:
        length, again = whole(queue), np.zeros(POINTS)
    else:
        work, until = quantiles(queue), random.exponential(queue.between, POINTS)
        length = np.minimum(work, until)
        again = np.where(until < work, random.permutation(whole(queue)), 0.0)
    met = random.choice(POINTS, POINTS, p=length / length.sum())
    return length[met] * random.random(POINTS) + again[met]


def whole(queue: Queue) -> NDArray:
    """Seconds from the beginning of tasks to their end while workers are free: equally likely."""
    work = quantiles(queue)
    if queue.every is not None or queue.between == math.inf:
        return np.asarray(expected_seconds(replace(queue, restart=0.0), work))
    return fresh(queue, work, np.random.default_rng(2))


def fresh(queue: Queue, work: NDArray, random: Generator) -> NDArray:
    """Seconds until tasks are done that begin again after each failure, without waiting."""
    total, running = np.zeros_like(work), np.ones(len(work), dtype=bool)
    while running.any():
        until = random.exponential(queue.between, len(work))
        total += np.where(running, np.minimum(until, work), 0.0)
        running &= until < work
    return total


def largest(values: NDArray, count: int) -> float:
    """The mean of the largest of so many draws from equally likely values."""
    ranks = np.arange(len(values) + 1) / len(values)
    return float(np.sum(np.sort(values) * np.diff(ranks**count)))


def given_up_share(queue: Queue) -> float:
    """The share of tasks that fail as often as they may, on average.

    Without checkpoints each attempt fails by itself; with them failures count over one task's work.
    """
    if queue.attempts is None or queue.between == math.inf:
        return 0.0
    x = np.asarray([wall(queue, work) for work in quantiles(queue)]) / queue.between
    if queue.every is None:
        return float(np.mean((-np.expm1(-x)) ** queue.attempts))
    fewer = sum(x**k / math.factorial(k) for k in range(queue.attempts))
    return float(np.mean(1 - np.exp(-x) * fewer))


def best_interval(checkpoint: float, between: float) -> float:
    """Seconds from one checkpoint to the next at which least is lost (Young 1974)."""
    return math.sqrt(2 * checkpoint * between)


def unchecked(queue: Queue) -> Queue:
    """The same without half-way checkpoints."""
    return replace(queue, every=None, checkpoint=0.0)
