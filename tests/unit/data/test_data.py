"""TensorData and DatasetData: rows by number, and refusals of what cannot be read."""

import pickle
import random
import re
import warnings
from itertools import count

import numpy as np
import pytest
import torch

from expunge.contract.problems import generator
from expunge.data import CHUNK, DatasetData, TensorData, walk
from expunge.data.fingerprints import fingerprints
from expunge.errors import BadInput

X, Y = torch.arange(40.0).reshape(10, 4), torch.arange(10)
PLAN = [torch.tensor([3, 1]), torch.tensor([[0, 9, 5], [9, 9, 2]])]


class Items(torch.utils.data.Dataset):
    """(input, target) pairs, with the row numbers that were asked for."""

    def __init__(self, inputs=X, targets=Y):
        self.inputs, self.targets, self.asked = inputs, targets, []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        self.asked.append(row)
        return self.inputs[row], int(self.targets[row])


class Noisy(Items):
    """Augmented: another content at each read, from the global generator of torch."""

    def __getitem__(self, row):
        x, y = super().__getitem__(row)
        return x + torch.rand(()), y


KINDS = {"tensors": lambda: TensorData(X, Y), "items": lambda: DatasetData(Items())}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@kinds
def test_a_plan_gives_its_rows_for_one_model_or_many(make):
    data = make()
    one, two = data.batches(iter(PLAN))
    for batch, rows in ((one, PLAN[0]), (two, PLAN[1])):
        assert torch.equal(batch.rows, rows)
        assert torch.equal(batch.inputs, X[rows])
        assert torch.equal(batch.targets, Y[rows])
        assert batch.targets.dtype == torch.int64
    assert two.inputs.shape == (2, 3, 4)
    assert len(data) == 10


@kinds
def test_an_empty_plan_gives_nothing(make):
    assert list(make().batches([])) == []
    assert list(make().batches(walk(torch.empty(0, dtype=torch.int64)))) == []


@kinds
def test_it_travels_to_another_process(make):
    data = make()
    list(data.batches(PLAN))
    (batch, _) = pickle.loads(pickle.dumps(data)).batches(PLAN)
    assert torch.equal(batch.inputs, X[[3, 1]])


@kinds
def test_only_rows_that_are_read_need_be_finite(make):
    x = X.clone()
    x[4, 1], x[7, 0] = float("nan"), float("inf")
    data = TensorData(x, Y) if make is KINDS["tensors"] else DatasetData(Items(x))
    (batch,) = data.batches([torch.tensor([0, 5])])
    assert torch.equal(batch.inputs, X[[0, 5]])
    for rows in (torch.tensor([0, 7, 4]), torch.tensor([[0, 1], [7, 4]])):
        with pytest.raises(BadInput, match="2 of the rows that are read .* first row 4"):
            list(data.batches([rows]))


def test_targets_must_be_finite_too():
    data = TensorData(X, torch.where(Y == 6, float("nan"), Y.double()))
    with pytest.raises(BadInput, match="1 of the rows that are read .* first row 6"):
        list(data.batches([torch.tensor([6])]))


def test_inputs_may_be_a_tree():
    data = TensorData({"a": X, "b": (Y, X[:, :1])}, Y)
    (batch,) = data.batches([PLAN[1]])
    assert torch.equal(batch.inputs["a"], X[PLAN[1]])
    assert torch.equal(batch.inputs["b"][1], X[PLAN[1]][..., :1])


def test_tensors_of_unequal_length_are_refused():
    with pytest.raises(BadInput, match=re.escape("inputs and targets have [9, 10] rows")):
        TensorData(X, Y[:9])
    with pytest.raises(BadInput, match=re.escape("have [9, 10] rows")):
        TensorData({"a": X, "b": X[:9]}, Y)


def test_read_only_arrays_stay_where_they_are_without_a_warning(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    mapped, frozen = np.load(tmp_path / "x.npy", mmap_mode="r"), Y.numpy().copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = TensorData(mapped, frozen)
    assert data.inputs.data_ptr() == mapped.ctypes.data
    assert data.targets.data_ptr() == frozen.ctypes.data
    (batch, _) = data.batches(PLAN)
    batch.inputs.zero_()
    assert np.array_equal(np.load(tmp_path / "x.npy"), X.numpy())


def test_every_row_of_many_is_looked_at():
    """More rows than are looked at at a time."""
    x = torch.zeros(2 * CHUNK + 5, 2)
    x[CHUNK + 1, 0] = x[-1, 1] = float("nan")
    data = TensorData({"a": torch.zeros(len(x)), "b": x}, torch.zeros(len(x)))
    list(data.batches([torch.tensor([0, CHUNK, CHUNK + 2])]))
    for row in (CHUNK + 1, len(x) - 1):
        with pytest.raises(BadInput, match=f"1 of the rows that are read .* first row {row}"):
            list(data.batches([torch.tensor([0, row])]))


# ---- a Dataset


class Batched(Items):
    """Reads many rows at once, which is faster."""

    def __getitems__(self, rows):
        self.asked.append(rows)
        return [(self.inputs[row], int(self.targets[row])) for row in rows]


def test_a_data_set_that_reads_many_rows_at_once_is_asked_for_a_batch():
    items = Batched()
    data = DatasetData(items)
    items.asked.clear()
    one, two = data.batches(PLAN)
    assert items.asked == [[3, 1], [0, 9, 5, 9, 9, 2]]
    assert one.targets.tolist() == [3, 1]
    assert two.targets.tolist() == [[0, 9, 5], [9, 9, 2]]


@pytest.mark.parametrize(("workers", "further"), [(0, 2), (1, 4)])
def test_a_plan_is_looked_at_no_further_than_is_read_ahead(workers, further):
    """A plan may be endless, or have a million batches."""
    seen = []

    def plan():
        for k in count():
            seen.append(k)
            yield torch.tensor([k % 10])

    batches = DatasetData(Items(), workers=workers).batches(plan())
    for k in range(25):
        assert next(batches).targets.tolist() == [k % 10]
        assert len(seen) <= k + further
    batches.close()


def test_items_of_trees_and_scalars_are_collated():
    class Trees(Items):
        def __getitem__(self, row):
            return {"a": self.inputs[row], "b": row}, float(row)

    one, two = DatasetData(Trees()).batches(PLAN)
    assert torch.equal(one.inputs["b"], PLAN[0])
    assert torch.equal(two.inputs["a"], X[PLAN[1]])
    assert one.targets.tolist() == [3.0, 1.0]


def test_numpy_items_become_tensors():
    data = DatasetData(Items(X.numpy(), Y.numpy()))
    (batch, _) = data.batches(PLAN)
    assert torch.equal(batch.inputs, X[PLAN[0]])


def test_a_collate_of_ones_own_is_used():
    def collate(items):
        return torch.stack([x for x, _ in items]) * 2, torch.tensor([y for _, y in items])

    (batch, _) = DatasetData(Items(), collate=collate).batches(PLAN)
    assert torch.equal(batch.inputs, 2 * X[PLAN[0]])


def test_worker_processes_read_the_same():
    plain, ahead = DatasetData(Items()), DatasetData(Items(), workers=1)
    for one, two in zip(plain.batches(PLAN), ahead.batches(PLAN), strict=True):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.rows, two.rows)


def test_an_unstable_data_set_is_refused_with_the_cure():
    before = torch.get_rng_state()
    with pytest.raises(BadInput, match=r"had other content .*DatasetData\(train, clean=\.\.\.\)"):
        DatasetData(Noisy())
    torch.set_rng_state(before)  # the user's own data set drew here


def test_training_reads_the_augmented_rows_and_judging_the_clean_ones():
    before = torch.get_rng_state()
    data = DatasetData(Noisy(), clean=Items())
    assert torch.equal(torch.get_rng_state(), before)
    (judged, _) = data.batches(PLAN)
    assert torch.equal(judged.inputs, X[PLAN[0]])
    (trained, _) = data.batches(PLAN, training=True)
    assert not torch.equal(trained.inputs, X[PLAN[0]])
    torch.set_rng_state(before)


class NotAPair(Items):
    def __init__(self, item):
        super().__init__()
        self.item = item

    def __getitem__(self, row):
        return self.item


BAD = {
    "triple": (lambda: NotAPair((X[0], 1, 2)), r"a list of 3|a tuple of 3"),
    "bare": (lambda: NotAPair(X[0]), "an item of the data set is a Tensor"),
    "mapping": (lambda: NotAPair({"x": X[0], "y": 1}), "an item of the data set is a dict"),
    "no length": (lambda: iter([(X[0], 1)]), "has no length.*map-style Dataset"),
}


@pytest.mark.parametrize(("make", "match"), BAD.values(), ids=BAD)
def test_data_sets_of_another_kind_are_refused(make, match):
    with pytest.raises(BadInput, match=match):
        DatasetData(make())


def test_train_and_clean_must_be_the_same_rows():
    with pytest.raises(BadInput, match="train has 10 rows and clean has 4"):
        DatasetData(Items(), clean=Items(X[:4], Y[:4]))


@kinds
def test_reading_draws_from_no_global_generator(make):
    data = make()
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    list(data.batches(PLAN))
    list(data.batches(PLAN, training=True))
    fingerprints(data, torch.arange(10))
    after = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


# ---- pieces


@pytest.mark.parametrize("rows", [0, 1, 5, 6])
def test_walk_gives_every_row_once_in_order(rows):
    pieces = list(walk(torch.arange(rows), 5))
    assert torch.cat([torch.empty(0, dtype=torch.int64), *pieces]).tolist() == [*range(rows)]
    assert all(0 < len(piece) <= 5 for piece in pieces)


def test_items_that_cannot_be_joined_are_named_with_the_cure():
    for items in ([(None, 0), (None, 1)], [({"a": 1}, 0), ({"b": 1}, 1)], [([1], 0), ([1, 2], 1)]):
        with pytest.raises(BadInput, match=r"rows 0.* cannot be joined .*what is no number"):
            list(DatasetData(items).batches([torch.tensor([0, 1])]))


@pytest.mark.parametrize("shape", [(5,), (2, 3), (0,), (2, 0)])
def test_rows_in_memory_lie_as_the_data_do(shape):
    rows = torch.randint(0, 7, shape, generator=generator(0))
    pictures = torch.randn(7, 2, 4, 4, generator=generator(1))
    last = pictures.to(memory_format=torch.channels_last)
    for inputs in (pictures, last, pictures.to(torch.uint8), pictures.transpose(1, 2)):
        (found,) = TensorData(inputs, torch.arange(7)).batches([rows])
        assert torch.equal(found.inputs, inputs[rows])
        assert found.inputs.stride() == inputs[rows].stride()
        assert torch.equal(found.targets, rows)
