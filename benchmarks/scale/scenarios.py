"""Two places to carry the cost model to, and what is assumed there, since no GPU was measured.

ImageNet with ResNet-50, and a billion texts with a fine-tuned model of seven billion weights.
Rates are rows or tokens that a GPU trains on in a second: the slowest and the fastest of published
numbers for hardware of the kind. `measured_rates` reads numbers of one's own in their place.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scale.model import FLOAT, Shape, Span, counted
from expunge.errors import BadInput

HOUR, DAY, WEEK, YEAR = 3600.0, 86400.0, 7 * 86400.0, 365 * 86400.0
GPU_BYTES = 80e9  # memory of one GPU, A100 or H100
TOKENS = 512  # of a text
RANK = 16  # of LoRA, on queries and values
# Unexpected interruptions of Meta's training of Llama 3: 419 in 54 days of 16,384 GPUs.
BETWEEN = 54 * DAY * 16384 / 419  # seconds between failures of one GPU, all causes
SPOT = DAY  # the same of a worker that the cloud may take back: our assumption
BACK = 600.0  # seconds until a failed worker is back: our assumption


class Source(NamedTuple):
    """One end of a rate."""

    a_second: float
    what: str  # hardware and how
    title: str  # of SOURCES; "" of one's own
    peak: float  # flop/s of the hardware in this precision, by its data sheet


@dataclass(frozen=True)
class Rate:
    """How fast one GPU trains: rows or tokens a second, from the slowest to the fastest."""

    low: Source
    high: Source
    flops: float  # multiplications and additions of training on one row or token

    @property
    def span(self) -> Span:
        """Rows or tokens a second."""
        return Span(self.low.a_second, self.high.a_second)

    @property
    def measured(self) -> bool:
        """Whether it is one's own."""
        return not self.low.title

    def share(self, end: Source) -> float:
        """Of the peak of the hardware."""
        return end.a_second * self.flops / end.peak


@dataclass(frozen=True)
class Setting:
    """A model, its data and how it is trained."""

    name: str
    shape: Shape
    rows: int  # S
    judged: int  # validation and test rows
    epochs: int
    rate: str  # name of a Rate
    tokens: int = 1  # a row, where the rate is of tokens
    spread: bool = False  # one model is trained on many GPUs; else on one

    def problem(self, forgotten: int = 1) -> Any:
        """For prices."""
        return counted(self.rows, forgotten, self.epochs)

    def units(self, rates: dict[str, Rate]) -> Span:
        """Row units that a GPU does in a second: a row that is trained on is three."""
        return rates[self.rate].span.of(3 / self.tokens)

    def seconds(self, units: float, rates: dict[str, Rate]) -> Span:
        """Seconds of one GPU for so many row units."""
        return self.units(rates).taken(units)


NVIDIA = "NVIDIA, ResNet-50 v1.5 for PyTorch"
MXNET = "NVIDIA, ResNet-50 v1.5 for MXNet"
FOUNDRY = "MosaicML, llm-foundry"
NEMO = "NVIDIA, NeMo 24.07"
META = "Meta, by Data Center Dynamics"
GITHUB = "https://github.com/"
SOURCES = {
    NVIDIA: GITHUB + "NVIDIA/DeepLearningExamples/tree/master/PyTorch/Classification/ConvNets/"
    "resnet50v1.5",
    MXNET: "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/dle/resources/resnet_mxnet/performance",
    FOUNDRY: GITHUB + "mosaicml/llm-foundry/tree/main/scripts/train/benchmarking",
    NEMO: GITHUB + "NVIDIA/NeMo/blob/main/docs/source/performance/performance_summary.md",
    META: "https://www.datacenterdynamics.com/en/news/"
    "meta-report-details-hundreds-of-gpu-and-hbm3-related-interruptions-to-llama-3-training-run",
}
A100, H100, H100_FP8 = 312e12, 989e12, 1979e12  # matrix products without sparsity
SEVEN, ONE = 6.74e9, 1.316e9  # weights; a token that is trained on costs 6 flop a weight
RATES = {
    "ResNet-50, images": Rate(
        Source(16621 / 8, "A100, one of eight, mixed precision", NVIDIA, A100),
        Source(90 * 1_281_167 / (8.75 * HOUR), "A100, alone, 90 epochs in 8.75 h", MXNET, A100),
        3 * 8.2e9,
    ),
    "7B, tokens": Rate(
        Source(3684, "A100, bf16, texts of 4,096", FOUNDRY, A100),
        Source(10643, "H100, bf16, texts of 2,048", FOUNDRY, H100),
        6 * SEVEN,
    ),
    "7B with LoRA, tokens": Rate(
        Source(3684, "A100, as if LoRA gained nothing", FOUNDRY, A100),
        Source(25206, "H100, FP8, packed texts", NEMO, H100_FP8),
        4 * SEVEN,  # slopes of frozen weights are left out
    ),
    "1.3B, tokens": Rate(
        Source(20513, "A100, bf16, texts of 2,048", FOUNDRY, A100),
        Source(45455, "H100, bf16, texts of 2,048", FOUNDRY, H100),
        6 * ONE,
    ),
}


def measured_rates(path: Path | None) -> dict[str, Rate]:
    """RATES, with those of a JSON file {name: [low, high]} in their place.

    Raises:
        BadInput: a file that cannot be read so, or a name that is none of RATES.
    """
    if path is None:
        return RATES
    wanted = f'JSON like {{"{next(iter(RATES))}": [2000, 2100]}}, both ends above 0'
    try:
        content = json.loads(path.read_text())
        given = {name: Span(float(low), float(high)) for name, (low, high) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} ({error})", expected=wanted, fix="correct the file") from error
    wrong = [
        name
        for name, (low, high) in given.items()
        if name not in RATES or not 0 < low <= high < float("inf")
    ]
    if wrong:
        raise BadInput(
            f"{path} with '{wrong[0]}': {list(given[wrong[0]])}",
            expected=f"{wanted}; names are {', '.join(RATES)}",
            fix="correct the file",
        )
    own = {
        name: replace(
            RATES[name],
            low=Source(low, f"measured, {path.name}", "", H100),
            high=Source(high, f"measured, {path.name}", "", H100),
        )
        for name, (low, high) in given.items()
    }
    return RATES | own


def resnet50() -> Shape:
    """ResNet-50 for 1,000 classes: 25,557,032 weights."""
    convolutions, inner = [(64, 3 * 49)], 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            convolutions += [(width, inner), (width, 9 * width), (4 * width, width)]
            if block == 0:
                convolutions.append((4 * width, inner))
            inner = 4 * width
    channels = sum(o for o, _ in convolutions)
    sides = (*((o, a, 1) for o, a in convolutions), (1000, 2049, 1))
    weights = sum(o * a for o, a, _ in sides) + 2 * channels
    buffers = 2 * FLOAT * channels + 8 * len(convolutions)
    return Shape("ResNet-50", weights, 1000, sides, buffers=buffers, states=1)


def llama(rank: int = 0) -> Shape:
    """A model like Llama-2-7B: 6,738,415,616 weights, or LoRA of a rank on it."""
    d, wide, depth, vocabulary = 4096, 11008, 32, 32000
    sides = ((d, d, 4 * depth), (wide, d, 2 * depth), (d, wide, depth), (vocabulary, d, 1))
    every = sum(o * a * n for o, a, n in sides) + vocabulary * d + (2 * depth + 1) * d
    if not rank:
        return Shape("7B", every, vocabulary, sides, states=2)
    sides = ((rank, d, 2 * depth), (d, rank, 2 * depth))
    adapters = sum(o * a * n for o, a, n in sides)
    return Shape("7B with LoRA", adapters, vocabulary, sides, frozen=every, states=2)


def small_language_model() -> Shape:
    """A model like MPT-1B: 1,315,950,592 weights."""
    d, depth = 2048, 24
    sides = ((3 * d, d, depth), (d, d, depth), (4 * d, d, depth), (d, 4 * d, depth))
    return Shape("1.3B", 1_315_950_592, 50368, sides, states=2)


IMAGENET = Setting("ImageNet", resnet50(), 1_281_167, 50_000, 90, "ResNet-50, images")
SHORT = replace(IMAGENET, name="ImageNet, 16 epochs", epochs=16)
BILLION = Setting("a billion texts", llama(), 10**9, 10_000, 1, "7B, tokens", TOKENS, spread=True)
LORA = replace(
    BILLION, name="a billion texts, LoRA", shape=llama(RANK), rate="7B with LoRA, tokens"
)
PROXY = Setting(
    "a proxy: a million texts", small_language_model(), 10**6, 10_000, 1, "1.3B, tokens", TOKENS
)
SHARDS = 1000  # of SISA, on the billion texts
SETTINGS = (IMAGENET, SHORT, BILLION, LORA, PROXY)
FORGOTTEN = {"ImageNet": (1, 1000, 1300), "a billion texts": (1, 1000, 10**6)}
