"""Forget sets of texts: rows of token ids that share words."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import tiny
from expunge.data import DatasetData, TensorData
from expunge.errors import BadInput
from expunge.forget_sets import build
from expunge.forget_sets.words import word_features

REVIEWS = [  # token ids; 1 is in nearly all of them
    [1, 2, 3, 4],
    [1, 9, 10, 11],
    [4, 3, 2, 1],  # the first in another order
    [1, 2, 3, 5],
    [1, 9, 10, 12],
    [],
    [1, 20, 21],
    [1, 9, 10, 11],  # a copy of the second
    [1, 1, 1, 1],
    [30, 31],
]
ROWS = torch.arange(len(REVIEWS))


def padded(reviews, width=6, filler=0):
    ids = torch.full((len(reviews), width), filler)
    mask = torch.zeros(len(reviews), width, dtype=torch.int64)
    for row, review in enumerate(reviews):
        ids[row, : len(review)] = torch.tensor(review, dtype=torch.int64)
        mask[row, : len(review)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def texts(inputs):
    """A problem of these inputs."""
    targets = torch.arange(len(inputs["input_ids"])) % 2
    base = tiny(forget=())
    return replace(base, train=TensorData(inputs, targets), present=None, forget=ROWS[:0])


def items(inputs, width=None):
    """The same rows as a Dataset that pads each batch to its own longest, as tokenizers do."""
    longest = inputs["attention_mask"].sum(1)

    def collate(batch):
        size = max(1, max(int(n) for _, _, n in batch))
        rows = [row for row, _, _ in batch]
        chosen = {name: t[rows][:, :size] for name, t in inputs.items()}
        return chosen, torch.tensor([target for _, target, _ in batch])

    return DatasetData([(i, i % 2, n) for i, n in enumerate(longest.tolist())], collate=collate)


def test_features_by_hand():
    inputs = padded([[1, 2], [1, 3], [1, 2], [1, 1]])
    found = word_features(TensorData(inputs, torch.zeros(4)), torch.arange(4))
    # smoothed rarity of tokens in 4, 2 and 1 of 4 rows
    everywhere, half, once = (torch.tensor(5 / (1 + n)).log() + 1 for n in (4, 2, 1))
    rows = torch.stack(
        [
            torch.stack([everywhere, half, 0 * once]),
            torch.stack([everywhere, 0 * half, once]),
            torch.stack([everywhere, half, 0 * once]),
            torch.stack([2 * everywhere, 0 * half, 0 * once]),
        ]
    ).double()
    rows /= rows.norm(dim=1, keepdim=True)
    # all three directions are kept, so that only their basis is another
    torch.testing.assert_close(found @ found.T, rows @ rows.T, rtol=0, atol=1e-6)


def test_copies_are_nearest_then_those_that_share_rare_words():
    problem = texts(padded(REVIEWS))
    assert build("nearest", problem, seed=0, row=1, count=2).tolist() == [1, 7]
    assert build("nearest", problem, seed=0, row=7, count=3).tolist() == [1, 4, 7]
    assert build("nearest", problem, seed=0, row=0, count=2).tolist() == [0, 2]
    assert build("nearest", problem, seed=0, row=0, count=3).tolist() == [0, 2, 3]


def test_reviews_without_words_are_alike_and_like_no_other():
    problem = texts(padded([*REVIEWS, []]))
    features = word_features(problem.train, torch.arange(11))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(11, dtype=torch.float64))
    likeness = features @ features.T
    assert likeness[5, 10] == 1
    assert likeness[5, [0, 1, 2, 3, 4, 6, 7, 8, 9]].abs().max() == 0
    assert build("nearest", problem, seed=0, row=5, count=2).tolist() == [5, 10]
    assert len(build("principal", problem, seed=0, count=3)) == 3


def test_a_review_without_words_is_no_nearer_than_one_that_shares_a_word():
    reviews = [[1, 2, 3, 4, 5, 6], [1, 7, 8, 9, 10, 11], [12, 13, 14, 15, 16, 17], []]
    problem = texts(padded(reviews))
    assert build("nearest", problem, seed=0, row=0, count=2).tolist() == [0, 1]


def test_one_token_in_all():
    problem = texts(padded([[4], [4, 4], [], [4]]))
    assert build("nearest", problem, seed=0, row=0, count=3).tolist() == [0, 1, 3]


def test_padding_is_invisible():
    expected = word_features(texts(padded(REVIEWS)).train, ROWS)
    for width, filler in ((4, 0), (9, 0), (6, 3), (9, 77)):
        other = texts(padded(REVIEWS, width, filler)).train
        assert torch.equal(word_features(other, ROWS), expected)


def test_the_order_of_tokens_plays_no_part():
    inputs = padded(REVIEWS)
    turned = {name: t.flip(1) for name, t in inputs.items()}
    expected = word_features(texts(inputs).train, ROWS)
    assert torch.equal(word_features(texts(turned).train, ROWS), expected)


def test_without_a_mask_every_token_counts():
    ids = torch.tensor([[1, 2], [2, 1], [3, 4]])
    bare, masked = ({"input_ids": ids}, {"input_ids": ids, "attention_mask": torch.ones(3, 2)})
    found = [word_features(TensorData(x, torch.zeros(3)), torch.arange(3)) for x in (bare, masked)]
    assert torch.equal(*found)


def test_a_data_set_of_token_rows_is_read_in_batches(monkeypatch):
    inputs = padded(REVIEWS)
    expected = word_features(texts(inputs).train, ROWS)
    monkeypatch.setattr("expunge.data.data.walk.__defaults__", (3,))
    assert torch.equal(word_features(items(inputs), ROWS), expected)
    for kind, settings in (("nearest", {"row": 1, "count": 4}), ("principal", {"count": 4})):
        problem = texts(inputs)
        other = replace(problem, train=items(inputs))
        found = [build(kind, one, seed=0, **settings) for one in (problem, other)]
        assert torch.equal(*found)


def test_only_rows_that_are_present_decide_what_is_rare():
    read = []

    class Watched(TensorData):
        def batches(self, plan, training=False):
            plan = list(plan)
            read.extend(row for rows in plan for row in rows.tolist())
            return super().batches(plan, training)

    whole = texts(padded(REVIEWS))
    train = Watched(whole.train.inputs, whole.train.targets)
    problem = replace(whole, train=train).without(torch.tensor([3, 6, 9]))
    found = build("nearest", problem, seed=0, row=0, count=4)
    assert set(read) == {*range(10)} - {3, 6, 9}  # what was forgotten before is not read
    features = word_features(problem.train, problem.present_rows)
    assert features[[3, 6, 9]].isnan().all()
    assert not torch.isin(found, torch.tensor([3, 6, 9])).any()


def test_one_end_of_the_first_component_holds_reviews_of_one_kind():
    draw = torch.Generator().manual_seed(0)
    common = torch.randint(1, 40, (60, 6), generator=draw)
    special = torch.randint(100, 104, (60, 6), generator=draw)
    ids = torch.where((torch.arange(60) < 20)[:, None], special, common)
    problem = texts({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    found = build("principal", problem, seed=0, count=20)
    assert found.tolist() == list(range(20))


def test_at_most_256_components_are_kept():
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 2000, (400, 12), generator=draw)
    found = word_features(TensorData({"input_ids": ids}, torch.zeros(400)), torch.arange(400))
    assert tuple(found.shape) == (400, 256)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(400, dtype=torch.float64))


def test_rows_without_any_token_are_refused():
    problem = texts({"input_ids": torch.ones(10, 3).long(), "attention_mask": torch.zeros(10, 3)})
    with pytest.raises(BadInput, match=r"no token in any of 10 rows.*check the mask"):
        build("nearest", problem, seed=0, row=1, count=2)
