"""Streams: pieces of models that lie in files give the bits of one computation in memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import one_hot

from expunge.audit.evidence import chunks as pieces
from expunge.audit.evidence.chunks import by_members, by_rows
from expunge.audit.evidence.folder import Evidence, manifest, read
from expunge.audit.metrics import klom_table as klom_file
from expunge.audit.metrics.distance import distance_table
from expunge.audit.metrics.klom import hidden, klom, p95
from expunge.audit.metrics.resample import (
    Rowwise,
    jackknife,
    jackknife_by_rows,
    splits,
    splits_by_rows,
)
from expunge.audit.verdict.document import document
from expunge.errors import BadInput
from tests.unit.audit.folders import declared

SIZES = {"forget": 75, "retain": 333, "test": 130}
MODELS = {"original": 52, "oracle": 61, "null": 57, "unlearned-dmm": 63, "unlearned-one": 1}


@pytest.fixture(autouse=True)
def few_splits(monkeypatch):
    monkeypatch.setattr(klom_file, "SPLITS", 10)


def tables(kind="classification"):
    g = torch.Generator().manual_seed(0)
    classes = 5 if kind == "classification" else 1
    truth = {group: torch.randint(5, (rows,), generator=g) for group, rows in SIZES.items()}
    if kind == "regression":
        truth = {group: y.double() for group, y in truth.items()}
    made = {
        name: {
            group: torch.randn(members, rows, classes, generator=g)
            + (one_hot(truth[group].long(), 5) if classes > 1 else truth[group][:, None]).float()
            for group, rows in SIZES.items()
        }
        for name, members in MODELS.items()
    }
    numbers = {
        f"{group}_rows": torch.arange(rows) + 1000 * k
        for k, (group, rows) in enumerate(SIZES.items())
    }
    return made, {**truth, **numbers}


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_document_of_files_in_small_pieces_has_the_bits_of_one_in_memory(
    tmp_path, monkeypatch, kind
):
    made, targets = tables(kind)
    methods = {n.removeprefix("unlearned-"): made[n] for n in made if n.startswith("unl")}
    held = Evidence(made["original"], made["oracle"], made["null"], methods, targets, None, kind)
    monkeypatch.setattr(pieces, "NUMBERS", 1 << 40)
    whole = document(held, declared(tuple(methods), kind))
    for name, file in {**made, "targets": targets}.items():
        save_file(file, tmp_path / f"{name}.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(tmp_path)))
    monkeypatch.setattr(pieces, "NUMBERS", 3000)
    streamed = document(read(tmp_path, kind, verify_manifest=True), declared(tuple(methods), kind))
    assert whole["methods"]["dmm"]["klom"] is not None
    assert streamed == whole


def one_shot(unlearned, oracle):
    """The summaries of `klom_table` as a statistic of whole groups."""
    sizes = list(SIZES.values())
    ours, paper = (klom(unlearned, oracle, convention=c).split(sizes) for c in ("expunge", "paper"))
    high = torch.stack([p95(group) for group in ours])
    mean = torch.stack([group.mean() for group in ours])
    published = torch.stack([p95(group) for group in paper]).mean()
    return torch.cat([high, mean, high.mean()[None], published[None]])


def test_klom_and_its_errors_are_those_of_leaving_models_out_of_whole_groups(monkeypatch):
    g = torch.Generator().manual_seed(1)
    u, o = (torch.randn(n, sum(SIZES.values()), generator=g) for n in (53, 50))
    monkeypatch.setattr(pieces, "NUMBERS", 1 << 40)
    value, error = one_shot(u, o), jackknife(one_shot, u, o)
    null = torch.stack([one_shot(a, b) for a, b in splits(o, 20, 10, 0)])
    monkeypatch.setattr(pieces, "NUMBERS", 7000)
    table = klom_file.klom_table(u, o, list(SIZES.values()))
    for i, group in enumerate(SIZES):
        found = [table[group][key] for key in ("p95", "se", "mean", "mean_se")]
        assert found == [value[i], error[i], value[3 + i], error[3 + i]]
    assert (table["average_p95"], table["average_se"]) == (value[6], error[6])
    assert table["paper_average_p95"] == value[7]
    drawn = klom_file.klom_null(o, 20, list(SIZES.values()))
    assert [drawn[group]["p95"] for group in SIZES] == null.quantile(0.5, dim=0)[:3].tolist()
    assert drawn["average_interval"][1] == null[:, 6].quantile(0.975)


def test_distance_and_its_error_are_those_of_leaving_models_out_of_whole_groups(monkeypatch):
    g = torch.Generator().manual_seed(2)
    u, o = (torch.randn(n, sum(SIZES.values()), generator=g) for n in (13, 27))

    def mean(a, b):
        groups = zip(
            a.split(list(SIZES.values()), 1), b.split(list(SIZES.values()), 1), strict=True
        )
        z = [(x.double() - y.double().mean(0)) / y.double().std(0) for x, y in groups]
        return torch.stack([one.square().mean(-1).sqrt().mean() for one in z])

    value, error = mean(u, o), jackknife(mean, u, o)
    monkeypatch.setattr(pieces, "NUMBERS", 500)
    table = distance_table(u, o, list(SIZES.values()))
    assert [table[group]["rms"] for group in SIZES] == value.tolist()
    assert [table[group]["se"] for group in SIZES] == error.tolist()
    alone = distance_table(u[:1], o, list(SIZES.values()))
    assert [alone[group]["se"] for group in SIZES] == jackknife(mean, u[:1], o).tolist()


def test_the_pieces_are_small_and_cover_everything(monkeypatch):
    monkeypatch.setattr(pieces, "NUMBERS", 4000)
    table, seen = torch.randn(20, 500, generator=torch.Generator().manual_seed(3)), []

    def rows(a, b):
        seen.append(a.shape)
        return torch.stack([a.sum(0), b.amax(0)])

    assert torch.equal(by_rows(rows, table, table[:5])[1], table[:5].amax(0))
    assert seen == [(20, 128)] * 3 + [(20, 116)]
    assert by_rows(lambda a: a.sum(0), table[:, :0]).shape == (0,)
    counts = by_members(lambda a: torch.full((len(a),), len(a)), table)
    assert counts.tolist() == [8] * 16 + [4] * 4


def test_a_statistic_by_rows_is_that_of_whole_groups(monkeypatch):
    monkeypatch.setattr(pieces, "NUMBERS", 100)
    g = torch.Generator().manual_seed(4)
    u, o = (torch.randn(n, 300, generator=g) for n in (4, 12))
    rowwise = Rowwise(lambda a, b: (a.amax(0) - b.amin(0))[None], lambda each: each.mean(-1))

    def whole(a, b):
        return rowwise.summary(rowwise.each(a, b))

    value, error = jackknife_by_rows(rowwise, u, o, 5)
    assert torch.equal(value, whole(u, o))
    assert torch.equal(error, jackknife(whole, u, o, 5))
    assert torch.equal(jackknife_by_rows(rowwise, u[:1], o)[1], jackknife(whole, u[:1], o))
    pairs = splits_by_rows(rowwise, o, 5, count=7, seed=3)
    assert torch.equal(pairs, torch.stack([whole(a, b) for a, b in splits(o, 5, 7, 3)]))
    with pytest.raises(BadInput, match="1 blocks of 4 and 12 models"):
        jackknife_by_rows(rowwise, u, o, 1)


def test_what_is_not_finite_is_placed_in_the_whole_table(monkeypatch):
    monkeypatch.setattr(pieces, "NUMBERS", 100)
    good = torch.zeros(12, 300)
    bad = good.clone()
    bad[3, 200], bad[7, 150], bad[8, 150] = torch.nan, torch.inf, torch.inf
    for measure in (klom, lambda u, o: klom_file.klom_table(u, o, [100, 100, 100])):
        with pytest.raises(
            BadInput, match="3 oracle margins are NaN or infinite, first in row 150"
        ):
            measure(good, bad)
    with pytest.raises(BadInput, match="3 oracle margins are NaN or infinite, first in row 150"):
        klom_file.klom_null(bad, 6, [100, 100, 100])


def test_what_is_not_finite_in_a_file_is_placed_in_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "NUMBERS", 3000)
    made, targets = tables()
    made["oracle"]["retain"][[7, 41, 41], [3, 2, 9], [1, 4, 0]] = torch.inf
    for name, file in {**made, "targets": targets}.items():
        save_file(file, tmp_path / f"{name}.safetensors")
    with pytest.raises(BadInput, match=r"retain in oracle.* 3 NaN or .* first at \(7, 3, 1\)"):
        read(tmp_path, "classification", verify_manifest=False)


def test_hidden_rows_are_found_in_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "NUMBERS", 100)
    g = torch.Generator().manual_seed(5)
    u, o = (torch.randn(12, 300, generator=g) for _ in range(2))
    u[0, [7, 70, 290]] = 1e4
    assert hidden(u, o).nonzero().squeeze(-1).tolist() == [7, 70, 290]


CHILD = """
import json, sys
from pathlib import Path
from expunge.audit.metrics import klom_table as klom_file
from expunge.audit.verdict.document import document
from expunge.audit.evidence.folder import read
klom_file.SPLITS = 3

def peak():  # ru_maxrss would count the parent, too
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

folder, declared, before = sys.argv[1], json.loads(sys.argv[2]), peak()
found = document(read(folder, "classification", verify_manifest=True), declared)
assert found["methods"]["dmm"]["klom"] is not None
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_judge_of_many_models_keeps_to_a_ceiling_of_memory(tmp_path):
    """Four files of 96 MB: all in memory, with their margins, they take more than 600 MB."""
    g, members, sizes = torch.Generator().manual_seed(6), 60, (500, 19000, 500)
    rows = dict(zip(SIZES, sizes, strict=True))
    targets = {group: torch.randint(20, (n,), generator=g) for group, n in rows.items()}
    starts = dict(zip(SIZES, (0, 1000, 0), strict=True))
    targets |= {f"{group}_rows": torch.arange(n) + starts[group] for group, n in rows.items()}
    save_file(targets, tmp_path / "targets.safetensors")
    for name in ("original", "oracle", "null", "unlearned-dmm"):
        file = {group: torch.randn(members, n, 20, generator=g) for group, n in rows.items()}
        save_file(file, tmp_path / f"{name}.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(tmp_path)))
    words = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(declared())]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600)
    assert int(done.stdout) < 350  # MiB
