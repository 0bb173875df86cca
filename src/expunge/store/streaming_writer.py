"""A safetensors file that grows: models' outputs are written as they come, never all in memory."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from expunge import store
from expunge.errors import BadInput

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}  # of types, in the order in which the format's own writer lays them out

Append = Callable[[Mapping[str, Tensor]], None]


@contextmanager
def streaming_writer(path: Path, like: Mapping[str, Tensor], count: int) -> Iterator[Append]:
    """A safetensors file that takes its place whole on exit, with the bytes of one written at once.

    Args:
        path: the file.
        like: tensors whose names, types and shapes, but for the first axis, are those of the file.
        count: length of the first axis of every tensor in the end.

    Yields:
        A function that takes the next entries of every tensor, (any number, ...).

    Raises:
        BadInput: a place that cannot be written; tensors of other names, types or shapes than
            `like`; more or fewer entries than `count`.
    """
    if odd := [f"{name} {t.dtype}" for name, t in like.items() if t.dtype not in NAMES]:
        raise BadInput(
            f"{path.name} is to hold {', '.join(odd)}",
            expected="floats: " + ", ".join(map(str, NAMES)),
            fix="convert what models say to floats",
        )
    order = sorted(like, key=lambda name: (list(NAMES).index(like[name].dtype), name))
    sizes = {name: prod(like[name].shape[1:]) * like[name].element_size() for name in order}
    header, starts, end = {}, {}, 0
    for name in order:
        starts[name], end = end, end + count * sizes[name]
        header[name] = {
            "dtype": NAMES[like[name].dtype],
            "shape": [count, *like[name].shape[1:]],
            "data_offsets": [starts[name], end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    done = 0
    with store.writing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        first = file.tell()

        def append(tensors: Mapping[str, Tensor]) -> None:
            nonlocal done
            more = _length(tensors, like)
            if done + more > count:
                raise _number(done + more, count)
            for name, values in tensors.items():
                file.seek(first + starts[name] + done * sizes[name])
                values = values.detach().cpu().contiguous()
                file.write(values.reshape(-1).view(torch.uint8).numpy().data)
            done += more

        yield append
        if done < count:
            raise _number(done, count)


def _length(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> int:
    """How many entries tensors that fit hold."""
    shapes, wanted = ({n: (t.dtype, t.shape[1:]) for n, t in x.items()} for x in (tensors, like))
    lengths = {len(t) for t in tensors.values()}
    if shapes != wanted or len(lengths) != 1:
        given, expected = (
            ", ".join(f"{n} {t.dtype} {tuple(t.shape)}" for n, t in sorted(x.items()))
            for x in (tensors, like)
        )
        raise BadInput(
            f"what comes next is {given}",
            expected=f"as what came first, but for one first axis: {expected}",
            fix="write models that were read on the same rows",
        )
    return lengths.pop()


def _number(given: int, count: int) -> BadInput:
    return BadInput(
        f"{given} entries for a file of {count}",
        expected=f"{count}, as the file's header says",
        fix="append as many as were announced",
    )
