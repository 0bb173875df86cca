"""A file that grows holds the bytes of one written at once."""

import pytest
import torch

from expunge import store
from expunge.errors import BadInput
from expunge.store.streaming_writer import streaming_writer

NUMBERS = torch.arange(140.0).sin()
MADE = {
    "forget": NUMBERS[:84].view(7, 3, 4),
    "exact": NUMBERS[:14].view(7, 2).double(),
    "retain": NUMBERS.view(7, 5, 4).half(),
    "brief": NUMBERS[:7].view(7, 1).bfloat16(),
    "Ärger": NUMBERS[56:].view(7, 3, 4),
    "none": torch.empty(7, 0, 4),
}


def cut(start, stop):
    return {name: values[start:stop] for name, values in MADE.items()}


@pytest.mark.parametrize("names", [("forget",), tuple(MADE), ("forget", "none", "retain")])
def test_it_holds_the_bytes_of_a_file_written_at_once(tmp_path, names):
    whole = {name: MADE[name] for name in names}
    store.write_tensors(tmp_path / "whole", whole)
    with streaming_writer(tmp_path / "grown", {n: t[:3] for n, t in whole.items()}, 7) as append:
        for start, stop in ((0, 3), (3, 3), (3, 6), (6, 7)):
            append({name: values[start:stop] for name, values in reversed(whole.items())})
        assert not (tmp_path / "grown").exists()
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "whole").read_bytes()


def test_tensors_that_lie_otherwise_in_memory_are_written_as_they_read(tmp_path):
    turned = NUMBERS[:21].view(3, 7).T
    store.write_tensors(tmp_path / "whole", {"z": turned})
    with streaming_writer(tmp_path / "grown", {"z": turned}, 7) as append:
        append({"z": turned[:4]})
        append({"z": turned[4:]})
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ([(0, 3), (3, 6)], "6 entries for a file of 7"),
        ([(0, 5), (2, 5)], "8 entries for a file of 7"),
        ([], "0 entries"),
    ],
)
def test_more_or_less_than_announced_leaves_no_file(tmp_path, blocks, match):
    def write():
        with streaming_writer(tmp_path / "grown", MADE, 7) as append:
            for start, stop in blocks:
                append(cut(start, stop))

    with pytest.raises(BadInput, match=match):
        write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "odd",
    [
        {"forget": MADE["forget"]},
        {**MADE, "forget": MADE["forget"].double()},
        {**MADE, "forget": MADE["forget"][:, :2]},
        {**MADE, "forget": MADE["forget"][:2]},
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, odd):
    with (
        pytest.raises(BadInput, match=r"what comes next is .*forget torch.float"),
        streaming_writer(tmp_path / "grown", MADE, 7) as append,
    ):
        append(odd)


def test_numbers_that_no_model_says_are_refused(tmp_path):
    with (
        pytest.raises(BadInput, match=r"is to hold rows torch.int64.*floats"),
        streaming_writer(tmp_path / "grown", {"rows": torch.arange(3)}, 3),
    ):
        pass
