import pytest
import torch

from expunge.audit.metrics.overshoot import overshoot


def draw(models, center, seed):
    noise = torch.randn(models, 30, generator=torch.Generator().manual_seed(seed))
    return noise + center


@pytest.mark.parametrize("center", [0.0, 8.0])  # the original is surer, or less sure
@pytest.mark.parametrize("members", [1, 20])
def test_past_means_on_the_far_side_from_the_original(center, members):
    oracle, original = draw(20, 4, 1), draw(20, center, 2)
    far = 8.0 - center
    assert overshoot(draw(members, far, 3), original, oracle, "classification") is True
    for near in (center, 4 + 0.5 * (center - 4)):
        assert overshoot(draw(members, near, 3), original, oracle, "classification") is False


def test_in_a_regression_the_size_of_the_error_counts():
    oracle, original = 2 * draw(20, 0, 1), draw(20, 0, 2)
    for sign in (1, -1):
        assert overshoot(sign * draw(20, 6, 3), original, oracle, "regression")
    assert not overshoot(draw(20, 0, 3), original, oracle, "regression")


@pytest.mark.parametrize("members", [1, 20])
def test_models_like_the_oracles_are_rarely_accused(members):
    # 2 standard errors, one side: about 2.5 %; 15 of 100 would be 8 standard deviations away
    shared = torch.randn(3, 100, 30, 1, generator=torch.Generator().manual_seed(4))
    accused = 0
    for trial in range(100):
        oracle = draw(20, 0, 1000 + trial) + shared[0, trial, :20]
        ours = draw(members, 0, 2000 + trial) + shared[1, trial, :members]
        original = draw(20, 5, 3000 + trial) + shared[2, trial, :20]
        accused += overshoot(ours, original, oracle, "classification")
    assert accused <= 15
