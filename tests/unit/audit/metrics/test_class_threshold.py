"""The attack by a threshold a class: by hand, by exhaustion, without and with a signal."""

import pytest
import torch

from expunge.audit.metrics.class_threshold import called_members
from expunge.audit.metrics.shadow import Shadow

from .shadows import CLASSES, shadow, signals


def test_by_hand_every_class_has_its_own_threshold():
    trained, unseen = torch.tensor([[1.0, 2.0, 10.0]]), torch.tensor([[4.0, 12.0, 14.0]])
    known = Shadow(trained, torch.tensor([0, 0, 1]), unseen, torch.tensor([0, 1, 1]))
    values, targets = torch.tensor([[2.9, 3.1, 10.9, 11.1, 0.0]]), torch.tensor([0, 0, 1, 1, 1])
    assert called_members(values, targets, known).tolist() == [[True, False, True, False, True]]


def test_where_unseen_rows_look_more_like_members_nobody_is_called():
    known = Shadow(
        torch.tensor([[5.0, 6.0]]),
        torch.zeros(2).long(),
        torch.tensor([[1.0]]),
        torch.zeros(1).long(),
    )
    found = called_members(torch.tensor([[0.0, 3.0, 9.0]]), torch.zeros(3).long(), known)
    assert not found.any()


def test_the_threshold_has_the_best_balanced_accuracy_of_all():
    known = shadow(4, 60, shift=1.0)

    def accuracy(called_trained, called_unseen):
        return (called_trained.double().mean(1) + 1 - called_unseen.double().mean(1)) / 2

    for y in range(CLASSES):
        trained, unseen = known.of_class(y)
        labels = torch.full((20,), y)
        own = accuracy(
            called_members(trained, labels, known), called_members(unseen, labels, known)
        )
        every = torch.cat([trained, unseen], 1)[:, :, None]
        tried = torch.stack(
            [accuracy(trained <= every[:, k], unseen <= every[:, k]) for k in range(40)]
        )
        torch.testing.assert_close(own, tried.max(0).values)


def test_without_a_signal_trained_and_unseen_are_called_alike():
    known = shadow(400, 60)
    (values, targets), (others, _) = (signals(400, 60, seed=s) for s in (9, 11))
    apart = called_members(values, targets, known).double().mean(1) - called_members(
        others, targets, known
    ).double().mean(1)
    assert abs(float(apart.mean())) < 5 * float(apart.std()) / 20


def test_a_planted_shift_is_found_in_its_direction():
    known = shadow(50, 300, shift=1.0)
    (values, targets), (others, _) = (signals(50, 300, seed=5 + k, shift=-k) for k in (1, 0))
    called = [float(called_members(x, targets, known).double().mean()) for x in (values, others)]
    # the best threshold between two unit normals one apart calls 69 % and 31 %
    assert called[0] == pytest.approx(0.69, abs=0.05)
    assert called[1] == pytest.approx(0.31, abs=0.05)


@pytest.mark.parametrize("change", [torch.log, torch.sqrt, lambda x: 7 * x + 1, lambda x: x**3])
def test_any_rising_map_changes_nothing_for_values_that_the_shadow_has(change):
    """Between two of the shadow's values the middle is a matter of the scale."""
    known = shadow(3, 60, shift=1.0)
    values = torch.cat([known.trained[:, :15], known.unseen[:, :15]], 1)
    targets = torch.cat([known.trained_targets[:15], known.unseen_targets[:15]])
    other = Shadow(
        change(known.trained), known.trained_targets, change(known.unseen), known.unseen_targets
    )
    found = called_members(values, targets, known)
    assert torch.equal(called_members(change(values), targets, other), found)
    assert 0 < found.double().mean() < 1


def test_classes_may_be_numbered_otherwise():
    known, (values, targets) = shadow(3, 60, shift=1.0), signals(3, 30, seed=7)
    names = torch.tensor([5, 0, 3])
    renamed = Shadow(
        known.trained, names[known.trained_targets], known.unseen, names[known.unseen_targets]
    )
    found = called_members(values, targets, known)
    assert torch.equal(called_members(values, names[targets], renamed), found)


def test_a_class_that_the_shadow_lacks_takes_the_threshold_of_all_its_rows():
    known, (values, _) = shadow(3, 60, shift=1.0), signals(3, 30, seed=7)
    nowhere = torch.full((30,), 9)
    pooled = Shadow(known.trained, torch.zeros(60).long(), known.unseen, torch.zeros(60).long())
    assert torch.equal(
        called_members(values, nowhere, known),
        called_members(values, torch.zeros(30).long(), pooled),
    )
