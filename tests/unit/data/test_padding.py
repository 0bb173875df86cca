"""Padding: batches of rows of unequal length, and refusals of rows that cannot be one."""

import pickle
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from expunge.contract.problems import generator
from expunge.data import DatasetData, Padding, TensorData
from expunge.errors import BadInput
from expunge.problem import Problem, Recipe, TextClassification
from expunge.training.from_recipe import train

ROWS = [
    ({"input_ids": [5, 6, 7]}, 1),
    ({"input_ids": [8]}, 0),
    ({"input_ids": [9, 2, 3, 4]}, 1),
]
ALL = torch.arange(3)


def batch(items, padding=None, plan=None):
    (found,) = DatasetData(items, collate=padding or Padding(0)).batches(
        [ALL if plan is None else plan]
    )
    return found


def test_rows_are_filled_up_on_the_right_and_the_mask_says_where_tokens_are():
    found = batch(ROWS, Padding(99))
    assert found.inputs["input_ids"].tolist() == [[5, 6, 7, 99], [8, 99, 99, 99], [9, 2, 3, 4]]
    assert found.inputs["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert found.targets.tolist() == [1, 0, 1]
    assert found.targets.dtype == found.inputs["attention_mask"].dtype == torch.int64


def test_the_left_can_be_filled_instead():
    found = batch(ROWS, Padding(99, side="left"))
    assert found.inputs["input_ids"].tolist() == [[99, 5, 6, 7], [99, 99, 99, 8], [9, 2, 3, 4]]
    assert found.inputs["attention_mask"].tolist() == [[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]]


def test_a_batch_is_as_long_as_its_own_longest_row():
    data = DatasetData(ROWS, collate=Padding(0))
    one, two = data.batches([ALL[:2], ALL[1:2]])
    assert one.inputs["input_ids"].shape == (2, 3)
    assert two.inputs["input_ids"].tolist() == [[8]]


def test_members_may_have_rows_of_their_own():
    plan = torch.tensor([[0, 1], [2, 0], [1, 1]])
    found = batch(ROWS, plan=plan)
    assert found.inputs["input_ids"].shape == found.inputs["attention_mask"].shape == (3, 2, 4)
    assert found.inputs["input_ids"][1].tolist() == [[9, 2, 3, 4], [5, 6, 7, 0]]
    assert found.targets.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert torch.equal(found.rows, plan)


@pytest.mark.parametrize("label", ["label", "labels"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_flat_mappings_as_data_sets_give_them_are_read(label, kind):
    rows = [
        {"input_ids": kind(ids["input_ids"]), "token_type_ids": kind([3] * len(ids["input_ids"]))}
        | {"attention_mask": kind([1] * len(ids["input_ids"])), label: y}
        for ids, y in ROWS
    ]
    found, plain = batch(rows, Padding(0, values={"token_type_ids": 8})), batch(ROWS)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(found.inputs[name], plain.inputs[name])
    assert found.inputs["token_type_ids"].tolist() == [[3, 3, 3, 8], [3, 8, 8, 8], [3] * 4]
    assert torch.equal(found.targets, plain.targets)


def test_a_mask_of_the_rows_own_is_kept():
    masked = [
        ({**ids, "attention_mask": [0, *[1] * (len(ids["input_ids"]) - 1)]}, y) for ids, y in ROWS
    ]
    assert batch(masked).inputs["attention_mask"].tolist() == [
        [0, 1, 1, 0],
        [0, 0, 0, 0],
        [0, 1, 1, 1],
    ]


def test_tokens_may_have_another_name():
    rows = [{"tokens": ids["input_ids"], "label": y} for ids, y in ROWS]
    found = batch(rows, Padding(0, values={"tokens": 4}))
    assert found.inputs["tokens"][1].tolist() == [8, 4, 4, 4]
    with pytest.raises(BadInput, match=r"row 0 has the columns tokens\. .*name input_ids.*values="):
        batch(rows)


def test_it_travels_to_other_processes_and_tells_its_refusals_from_there():
    assert pickle.loads(pickle.dumps(Padding(3, values={"a": 1}))) == Padding(3, values={"a": 1})
    long = [*ROWS * 6, ({"input_ids": [1] * 9}, 1), *ROWS * 6]  # none of those read beforehand
    data = DatasetData(long, collate=Padding(0, longest=5), workers=1)
    with pytest.raises(BadInput, match="row 18 has 9 tokens"):
        list(data.batches([torch.tensor([0, 18])]))


# ---- refusals


def tokens(**columns):
    return {"input_ids": [1, 2], "label": 0, **columns}


BAD = {
    "other columns": ([tokens(), tokens(b=[1, 1])], "row 1 has the columns .*b.*, row 0 has"),
    "no label": ([tokens(), {"input_ids": [1]}], "row 1 has no label: its columns are input_ids"),
    "two labels": ([tokens(labels=1)], "row 0 has both label and labels"),
    "unequal": ([tokens(attention_mask=[1])], "row 0 .*length input_ids: 2, attention_mask: 1"),
    "empty": ([tokens(), tokens(input_ids=[])], "row 1 has sequences of length input_ids: 0"),
    "text": ([tokens(text="well")], "'text' of row 0 is str.*remove_columns"),
    "texts": ([tokens(words=["a", "b"])], "'words' of row 0 is list"),
    "nothing": ([tokens(words=None)], "'words' of row 0 is NoneType"),
    "one number": ([tokens(idx=4)], r"'idx' of row 0 is numbers of shape \(\)"),
    "a batch": ([tokens(input_ids=[[1, 2]])], r"of shape \(1, 2\).*tokenised row by row"),
    "text label": ([({"input_ids": [1]}, "good")], "the label of row 0 is 'good'"),
    "label of many": ([({"input_ids": [1]}, [0, 1])], r"the label of row 0 is \[0, 1\]"),
    "no mapping": ([([1, 2], 0)], "row 0 is a tuple.*a mapping such as"),
    "other type": ([tokens(), tokens(input_ids=[1.0])], "'input_ids' of row 1 is torch.float32"),
    "label's type": ([tokens(), tokens(label=1.5)], "'label' of row 1 is torch.float32"),
    "too long": (
        [tokens(), tokens(input_ids=[1] * 6)],
        "row 1 has 6 tokens.*at most 5.*truncation",
    ),
}


@pytest.mark.parametrize(("rows", "match"), BAD.values(), ids=BAD)
def test_rows_that_cannot_be_padded_are_refused_by_number(rows, match):
    with pytest.raises(BadInput, match=match):
        DatasetData(rows, collate=Padding(0, longest=5))
    with pytest.raises(BadInput, match=match):
        Padding(0, longest=5)(rows)


@pytest.mark.parametrize("wrong", [{"pad": None}, {"pad": 0, "side": "both"}, {"pad": True}])
def test_a_padding_that_means_nothing_is_refused(wrong):
    with pytest.raises(BadInput, match="the number of the padding token, and right or left"):
        Padding(**wrong)


def test_ragged_rows_without_a_padding_are_refused_with_the_cure():
    ragged = {
        "lists": ROWS,
        "tensors": [({"input_ids": torch.tensor(i["input_ids"])}, y) for i, y in ROWS],
        "bare": [(torch.tensor(i["input_ids"]), y) for i, y in ROWS],
        "flat": [{**ids, "label": y} for ids, y in ROWS],
    }
    for name, rows in ragged.items():
        with pytest.raises(BadInput, match=re.escape("collate=Padding(pad_token_id)")) as caught:
            DatasetData(rows)
        assert "rows 0" in str(caught.value), name


# ---- the law: padding is invisible


class Mean(nn.Module):
    """The mean of the tokens' vectors, by the mask, through one layer; float64."""

    def __init__(self, masked: bool = True):
        super().__init__()
        self.words, self.head = nn.Embedding(50, 6), nn.Linear(6, 2)
        self.masked = masked
        self.double()

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids)
        m = (attention_mask if self.masked else torch.ones_like(attention_mask))[..., None].to(x)
        return self.head(torch.tanh((x * m).sum(-2) / m.sum(-2)))


def texts(count: int, seed: int) -> list:
    g = generator(seed)
    lengths = torch.randint(1, 9, (count,), generator=g).tolist()
    return [
        {"input_ids": torch.randint(1, 50, (n,), generator=g).tolist(), "label": k % 2}
        for k, n in enumerate(lengths)
    ]


def held(data: DatasetData, length: int) -> TensorData:
    """The same rows as tensors, every one padded to a length."""
    (found,) = data.batches([torch.arange(len(data))])
    missing = length - found.inputs["input_ids"].shape[1]
    inputs = {name: nn.functional.pad(x, (0, missing)) for name, x in found.inputs.items()}
    return TensorData(inputs, found.targets)


def trained(train_data, masked: bool, group: int = 1):
    recipe = Recipe(partial(Mean, masked), 3, 8, partial(torch.optim.SGD, lr=0.5))
    rows = DatasetData(texts(12, 2), collate=Padding(0))
    problem = Problem(TextClassification(2), train_data, rows, recipe=recipe)
    return train(problem, "original", range(3), seed=0, group=group)[0].tensors()


def gap(a, b) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_training_on_padded_batches_is_training_on_rows_padded_longer():
    for side in ("right", "left"):
        data = DatasetData(texts(40, 1), collate=Padding(0, side=side))
        assert gap(trained(data, True), trained(held(data, 14), True)) < 1e-12
    assert gap(trained(data, False), trained(held(data, 14), False)) > 1e-3


def test_members_that_train_in_a_group_get_the_weights_that_they_get_alone():
    data = DatasetData(texts(40, 1), collate=Padding(0))
    assert gap(trained(data, True), trained(data, True, group=3)) < 1e-12


def test_the_mask_has_no_filler_of_its_own():
    with pytest.raises(BadInput, match="values with attention_mask=1.*Fix: leave it out"):
        Padding(0, values={"attention_mask": 1})


def test_a_filler_that_a_column_cannot_hold_is_refused():
    rows = [tokens(mood=[1, 2]), tokens(input_ids=[1], mood=[1])]
    with pytest.raises(BadInput, match=r"'mood' of torch\.int64 filled with 0\.5.*a whole number"):
        Padding(0, values={"mood": 0.5})(rows)
    weighed = [tokens(mood=[1.0, 2.0]), tokens(input_ids=[1], mood=[1.0])]
    found, _ = Padding(0, values={"mood": 0.5})(weighed)
    assert found["mood"].tolist() == [[1.0, 2.0], [1.0, 0.5]]
