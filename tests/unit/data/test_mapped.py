"""MappedData: files that stay files, read row by row, never written."""

import hashlib
import pickle
import re
import warnings

import numpy as np
import pytest
import torch

from expunge.data import MappedData, TensorData
from expunge.data.fingerprints import fingerprints
from expunge.data.mapped import AHEAD, ahead
from expunge.errors import BadInput

X = np.arange(40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10)
PLAN = [torch.tensor([3, 1]), torch.tensor([[0, 9, 5], [9, 9, 2]])]


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path / "x.npy", tmp_path / "y.npy"


def same(one, other):
    assert torch.equal(one.rows, other.rows)
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.targets, other.targets)
    assert one.inputs.dtype == other.inputs.dtype


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_it_gives_what_the_same_rows_in_memory_give(files, workers):
    data, plain = MappedData(*files, workers=workers), TensorData(X, Y)
    assert len(data) == 10
    for _ in range(2):  # a plan may be read again
        for one, other in zip(data.batches(iter(PLAN)), plain.batches(PLAN), strict=True):
            same(one, other)
    assert list(data.batches([])) == []
    every = torch.arange(10)
    assert torch.equal(fingerprints(data, every), fingerprints(plain, every))


def opened(path, part=slice(None)):
    return np.load(path, mmap_mode="r")[part]


def test_arrays_that_are_mapped_already_and_parts_of_them_are_found_in_their_files(files):
    for part in (slice(None), slice(4, None), slice(2, 9)):
        data = MappedData(*(opened(path, part) for path in files))
        (batch,) = data.batches([torch.arange(len(data))])
        assert torch.equal(batch.inputs, torch.from_numpy(X[part].copy()))
        assert torch.equal(batch.targets, torch.from_numpy(Y[part].copy()))


def test_a_plain_file_without_a_header_may_be_mapped(tmp_path, files):
    (tmp_path / "x.bin").write_bytes(b"?" * 4100 + X.tobytes())  # more than a page before it
    raw = np.memmap(tmp_path / "x.bin", np.float32, "r", 4100, X.shape)
    (batch,) = MappedData(raw[3:], opened(files[1])[3:]).batches([torch.tensor([6, 0])])
    assert torch.equal(batch.inputs, torch.from_numpy(X[[9, 3]]))


def test_inputs_may_be_a_tree_of_files(files):
    x, y = files
    data = MappedData({"a": x, "b": (str(y), opened(x))}, y)
    (batch,) = data.batches(PLAN[1:])
    assert torch.equal(batch.inputs["b"][1], torch.from_numpy(X)[PLAN[1]])
    assert torch.equal(batch.inputs["b"][0], batch.targets)


def test_files_are_read_only_without_a_warning_and_stay_as_they_are(files):
    before = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    for path in files:
        path.chmod(0o444)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (files, [np.load(path, mmap_mode="r") for path in files]):
            for batch in MappedData(*given).batches(PLAN):
                batch.inputs.zero_()  # a batch is its own
                batch.targets.zero_()
    assert before == [hashlib.sha256(path.read_bytes()).digest() for path in files]


def test_a_map_opened_for_writing_cannot_be_written_through_it(files):
    data = MappedData(*(np.load(path, mmap_mode="r+") for path in files))
    list(data.batches(PLAN))
    assert not any(array.flags.writeable for array in data._arrays)


def test_what_travels_to_another_process_is_where_the_rows_lie(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((50_000, 4), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(50_000, np.int64))
    data = MappedData(tmp_path / "x.npy", tmp_path / "y.npy")
    list(data.batches(PLAN))
    sent = pickle.dumps(data)
    assert len(sent) < 2000
    for one, other in zip(pickle.loads(sent).batches(PLAN), data.batches(PLAN), strict=True):
        same(one, other)


def test_only_rows_that_are_read_need_be_finite(tmp_path, files):
    x = X.copy()
    x[4, 1], x[7, 0] = np.nan, np.inf
    np.save(tmp_path / "bad.npy", x)
    for workers in (0, 2):
        data = MappedData(tmp_path / "bad.npy", files[1], workers=workers)
        list(data.batches([torch.tensor([0, 5])]))
        with pytest.raises(BadInput, match="2 of the rows that are read .* first row 4"):
            list(data.batches([torch.tensor([1]), torch.tensor([[0, 7], [7, 4]])]))


# ---- what cannot be mapped


def write(folder, array):
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


BAD = {
    "no file": (lambda folder: folder / "none.npy", "none.npy cannot be mapped .*No such file"),
    "objects": (lambda f: write(f, np.array(["a", None], object)), "cannot be mapped"),
    "text": (lambda f: write(f, np.array(["a", "b"] * 5)), "which torch does not know"),
    "bytes from elsewhere": (lambda f: write(f, X.astype(">f4")), "holds >f4.*byte order"),
    "columns first": (lambda f: write(f, np.asfortranarray(X)), r"shape \(10, 4\) whose rows do"),
    "every other row": (lambda f: opened(write(f, X))[::2], "do not follow one another"),
    "a number": (lambda f: write(f, np.float32(1)), r"shape \(\) whose rows"),
    "no rows": (lambda f: opened(write(f, X))[5:5], "a ndarray for MappedData"),
    "in memory": (lambda f: X, "a ndarray for MappedData.*use TensorData"),
    "a list": (lambda f: [1, 2], "a int for MappedData"),
    "copied on writing": (lambda f: np.load(write(f, X), mmap_mode="c"), "a copy-on-write map"),
}


@pytest.mark.parametrize(("make", "match"), BAD.values(), ids=BAD)
def test_what_cannot_be_mapped_is_refused_with_the_cure(tmp_path, files, make, match):
    with pytest.raises(BadInput, match=match):
        MappedData(make(tmp_path), files[1])


def test_files_of_unequal_length_are_refused(files):
    with pytest.raises(BadInput, match=re.escape("files with [9, 10] rows")):
        MappedData(files[0], opened(files[1])[:9])


# ---- reading ahead


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_plan_is_looked_at_no_further_than_is_read_ahead(workers):
    seen = []

    def plan():
        for k in range(1000):
            seen.append(k)
            yield torch.tensor([k])

    found = ahead(lambda rows: rows * 2, plan(), workers)
    for k in range(5):
        rows, content = next(found)
        assert (rows.item(), content.item()) == (k, 2 * k)
        assert len(seen) <= k + 2 + AHEAD * workers
    found.close()
    assert len(seen) <= 6 + AHEAD * workers


def test_the_whole_plan_is_read_in_its_order_and_an_error_arrives_in_its_place():
    plan = [torch.tensor([k]) for k in range(20)]
    assert [int(c) for _, c in ahead(lambda rows: rows.sum(), plan, 3)] == [*range(20)]

    def read(rows):
        if rows.item() == 7:
            raise BadInput("row 7", expected="another", fix="skip it")
        return rows

    got = []
    with pytest.raises(BadInput, match="row 7"):
        got.extend(rows.item() for rows, _ in ahead(read, plan, 2))
    assert len(got) <= 7
