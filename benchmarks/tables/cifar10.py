"""The published CIFAR-10 table, made again: ResNet-18, random rows, published settings, one seed.

Trains the original and the retrained model for 182 epochs, forgets with every method at the
settings of configs/published_10.toml (or _50), and writes our numbers beside the published ones.
Needs a GPU, some 740 MB of memory for the data, and, at --minutes a piece, several pieces: the
same command goes on where the last one stopped, also in the middle of a training. Claims are the
published order: the average gap of salun is the smallest.

Run: python -m benchmarks.tables.cifar10 --device cuda --precision bf16 --minutes 9
Try: python -m benchmarks.tables.cifar10 --rows 500 (on a CPU; one epoch each, proves nothing)
"""

from typing import Any

from benchmarks import grid, result
from expunge import store
from expunge.bench.content import Content, gaps_of

# Fan et al. 2024, arXiv 2310.12508, tables of random forgetting: UA, RA, TA, MIA, average gap
PUBLISHED = {
    "10": {
        "retrain": (5.24, 100.0, 94.26, 12.88, 0.0),
        "fine-tune": (0.63, 99.88, 94.06, 2.70, 3.78),
        "random-label": (7.61, 99.67, 92.83, 37.36, 7.15),
        "gradient-ascent": (0.69, 99.50, 94.01, 1.70, 4.12),
        "influence": (1.07, 99.20, 93.20, 2.67, 4.06),
        "boundary-expand": (0.59, 99.42, 93.85, 7.47, 2.76),
        "boundary-shrink": (1.78, 98.29, 92.69, 8.96, 2.67),
        "l1-sparse": (4.19, 97.74, 91.59, 9.84, 2.26),
        "salun": (2.85, 99.62, 93.93, 14.39, 1.15),
        "salun-soft": (4.19, 99.74, 93.44, 19.49, 2.19),
    },
    "50": {
        "retrain": (7.91, 100.0, 91.72, 19.29, 0.0),
        "fine-tune": (0.44, 99.96, 94.23, 2.15, 6.79),
        "random-label": (4.80, 99.55, 91.31, 41.95, 6.65),
        "gradient-ascent": (0.40, 99.61, 94.34, 1.22, 7.15),
        "influence": (3.97, 96.21, 90.00, 7.29, 5.36),
        "boundary-expand": (3.08, 96.84, 90.41, 24.87, 3.72),
        "boundary-shrink": (9.76, 90.19, 83.71, 32.15, 8.13),
        "l1-sparse": (1.44, 99.52, 93.13, 4.76, 5.72),
        "salun": (7.75, 94.28, 89.29, 16.99, 2.65),
        "salun-soft": (3.41, 99.62, 91.82, 31.50, 4.30),
    },
}
METRICS = ("UA", "RA", "TA", "MIA")
Row = tuple[float, ...]


def main() -> None:
    flags = arguments()
    options: dict[str, Any] = {"precision": flags.precision}
    if flags.rows:
        options |= {"rows": flags.rows, "epochs": 1}
    asked = {**grid.config(f"published_{flags.share}"), "problem": flags.problem}
    asked["options"] = options
    words = ("--share", flags.share, "--device", flags.device, "--precision", flags.precision)
    content = grid.content_of(flags, small(asked) if flags.rows else asked, words)
    ours = rows_of(content)
    text = beside(ours, PUBLISHED[flags.share])
    store.write_bytes(flags.out.with_suffix("") / "beside.md", text.encode())
    print(text)
    known = {m: row[-1] for m, row in ours.items() if m not in ("retrain", "original", "salun")}
    rest = min(known, key=lambda m: known[m])
    value = ours["salun"][-1] - known[rest] if "salun" in ours else None
    name = f"average gap of salun less that of the best other, {rest}, at {flags.share} %"
    claims = [result.claim(name, value, 0.0)]
    facts = {"rows": flags.rows, "device": flags.device, "precision": flags.precision}
    result.write(flags.out, claims, ours=ours, published=PUBLISHED[flags.share], seeds=[0], **facts)


def arguments() -> Any:
    """The flags, with what a slow training needs."""
    parser = grid.parser(lambda flags: "cifar10_table" + ("" if flags.share == "10" else "_50"))
    parser.add_argument("--share", choices=("10", "50"), default="10", help="of the rows, in %%")
    parser.add_argument("--problem", choices=("cifar10", "cifar10-resnet9"), default="cifar10")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rows", type=int, help="a trial with so many train rows, one epoch each")
    flags = parser.parse_args()
    if flags.quick:
        flags.rows, flags.problem = flags.rows or 100, "cifar10-resnet9"
    return flags


def small(asked: dict) -> dict:
    """One epoch a method, few judged rows, and little curvature."""
    changes = {"epochs": 1, "ascent_epochs": 1, "samples": 20, "batch_size": 32}
    methods = [
        {**m, "settings": {k: changes.get(k, v) for k, v in m["settings"].items()}}
        for m in asked["method"]
    ]
    return {**asked, "method": methods, "judged_rows": 100}


def rows_of(content: Content) -> dict[str, Row]:
    """UA, RA, TA, MIA and the average gap of what was measured."""
    labels = [e["label"] for e in content["config"]["candidates"]]
    name = content["config"]["forget"][0]["name"]
    found = {}
    for label in ("retrain", "original", *labels):
        gaps = gaps_of(content, name, label, "fixed" if label in labels else None)
        if gaps is not None:
            found[label] = (*(gaps.metrics[m].mean for m in METRICS), gaps.average)
    return found


def beside(ours: dict[str, Row], published: dict[str, Row]) -> str:
    """Both tables as one in Markdown; a method that one of them lacks has a dash there."""
    head = ["Method", *(f"{m}, {who}" for m in (*METRICS, "gap") for who in ("ours", "published"))]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    for method in dict.fromkeys((*ours, *published)):
        pairs = zip(*(_shown(side.get(method)) for side in (ours, published)), strict=True)
        lines.append([method, *(text for pair in pairs for text in pair)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(row: Row | None) -> list[str]:
    return ["–"] * 5 if row is None else [f"{value:.2f}" for value in row]


if __name__ == "__main__":
    main()
