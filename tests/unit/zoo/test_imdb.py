"""IMDB: reading, splitting without common reviews, words as numbers, the network."""

import zlib
from collections import Counter
from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import tiny
from expunge.errors import BadInput
from expunge.rng import Draws, seeded
from expunge.training.from_recipe import train, train_group
from expunge.training.group_size import refusal
from expunge.zoo.imdb import BUCKETS, LONGEST, WordBag, imdb, texts, tokens

from .files import imdb_columns, needs, write_imdb

REAL = needs("imdb.parquet")


def number(word):
    return 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)


def words_of(data, row):
    """The word numbers of a row, without padding."""
    present = data.inputs["attention_mask"][row].bool()
    return data.inputs["input_ids"][row][present].tolist()


def model():
    with seeded(0):
        return WordBag()


def test_a_word_counts_once_where_it_stands_last_and_the_end_of_a_review_is_kept():
    found = tokens(["It's GOOD, good<br /><br />bad... GOOD", "a b c d e", ""], longest=3)
    assert found["input_ids"].dtype == found["attention_mask"].dtype == torch.int64
    expected = [[number(w) for w in words] for words in (["it's", "bad", "good"], ["c", "d", "e"])]
    assert found["input_ids"].tolist() == [*expected, [0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert tuple(tokens(["one"])["input_ids"].shape) == (1, LONGEST)


def test_no_word_has_the_number_of_padding_and_all_are_below_the_number_of_buckets():
    found = tokens([" ".join(f"w{k}" for k in range(LONGEST))])["input_ids"]
    assert found.min() > 0
    assert found.max() < BUCKETS
    # a word's number depends on nothing but the word
    assert tokens(["w7"])["input_ids"][0, 0] == found[0, 7]


def test_padding_is_invisible_to_the_network():
    given = tokens(["a film that was good", "bad"], longest=8)
    with torch.no_grad():
        alone = model()(**given)
        longer = {name: torch.cat([t, torch.zeros_like(t)], 1) for name, t in given.items()}
        torch.testing.assert_close(model()(**longer), alone)
        # whatever stands where the mask is zero
        longer["input_ids"][:, 8:] = 17
        torch.testing.assert_close(model()(**longer), alone)
        short = {name: t[1:, :1] for name, t in given.items()}
        torch.testing.assert_close(model()(**short), alone[1:])
        assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_the_network_is_the_mean_of_embeddings_and_a_hidden_layer_by_hand():
    given, made = tokens(["good bad", "good"], longest=4), model()
    table = made.words.weight
    means = torch.stack([(table[number("good")] + table[number("bad")]) / 2, table[number("good")]])
    hidden = (32 * means @ made.hidden.weight.T + made.hidden.bias).clamp(min=0)
    torch.testing.assert_close(made(**given), hidden @ made.head.weight.T + made.head.bias)
    assert sum(p.numel() for p in made.parameters()) == 262_450


def test_a_review_without_words_has_finite_outputs_and_gradients():
    made = model()
    found = made(**tokens(["", "!!!"]))
    found.sum().backward()
    assert found.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_rows_are_the_file_s_own_under_their_numbers(tmp_path):
    write_imdb(tmp_path)
    columns, problem = imdb_columns(), imdb(tmp_path, rows=40)
    assert [len(data) for data in problem.splits.values()] == [40, 8, 16]
    for row, official in enumerate(problem.ids):
        assert columns["split"][official] == "train"
        assert problem.train.targets[row] == columns["label"][official]
        assert words_of(problem.train, row) == words_of_text(columns["text"][official])
    for data in problem.splits.values():
        assert data.targets.bincount().tolist() == [len(data) // 2] * 2


def words_of_text(text):
    found = tokens([text])
    return found["input_ids"][0][found["attention_mask"][0].bool()].tolist()


def test_a_trial_has_rows_of_the_whole(tmp_path):
    write_imdb(tmp_path)
    assert set(imdb(tmp_path, rows=20).ids) < set(imdb(tmp_path, rows=60).ids)


def test_a_text_that_stands_twice_is_in_one_split_only(tmp_path):
    columns = imdb_columns()
    texts_ = columns["text"]
    for n in range(0, 30, 2):  # test reviews that are train reviews, and repeats within each
        texts_[80 + n] = texts_[n]
        texts_[n + 41], texts_[n + 121] = texts_[n + 40], texts_[n + 120]
    write_imdb(tmp_path, text=texts_)
    problem = imdb(tmp_path, rows=40)
    shown = [
        {tuple(words_of(data, row)) for row in range(len(data))} for data in problem.splits.values()
    ]
    assert [len(one) for one in shown] == [40, 8, 16]  # none stands twice
    assert not shown[0] & shown[1]
    assert not (shown[0] | shown[1]) & shown[2]
    for row, official in enumerate(problem.ids):  # numbers in the file, repeats counted
        assert words_of_text(texts_[official]) == words_of(problem.train, row)


def test_the_text_of_a_row_is_the_one_its_words_are_from(tmp_path):
    write_imdb(tmp_path)
    problem = imdb(tmp_path, rows=40)
    rows = torch.tensor([31, 2, 17])
    found = texts(problem, rows, tmp_path)
    assert found == [
        imdb_columns()["text"][problem.ids[row]].replace("<br />", "\n") for row in rows
    ]
    assert "film!\n\nThe" in found[0]
    assert [words_of_text(t) for t in found] == [words_of(problem.train, r) for r in rows]


def test_texts_of_another_problem_or_file_are_refused(tmp_path):
    problem, rows = imdb(write_imdb(tmp_path), rows=40), torch.tensor([31, 2])
    for other in (replace(problem, ids=None), tiny(forget=())):
        with pytest.raises(BadInput, match=rf"{other.name}.*Fix: pass the texts yourself"):
            texts(other, rows, tmp_path)
    columns = imdb_columns()
    write_imdb(tmp_path, text=columns["text"][1:] + columns["text"][:1])
    with pytest.raises(BadInput, match=r"imdb\.parquet holds other reviews than the problem"):
        texts(problem, rows, tmp_path)
    write_imdb(tmp_path, **{name: column[:3] for name, column in columns.items()})
    with pytest.raises(BadInput, match="holds other reviews than the problem"):
        texts(problem, rows, tmp_path)


def test_a_file_without_rows(tmp_path):
    write_imdb(tmp_path, **{name: column[:0] for name, column in imdb_columns().items()})
    with pytest.raises(BadInput, match="class 0 has 0 rows"):
        imdb(tmp_path, rows=20)


def test_a_group_is_trained_as_models_alone_are(tmp_path):
    problem = imdb(write_imdb(tmp_path), rows=40, epochs=1)
    rows, draws = torch.arange(40), Draws((0, "a test"))

    def run(ids, steps, grouped):
        recipe = replace(problem.recipe, epochs=steps, batch_size=40)
        blocks = [ids] if grouped else [(i,) for i in ids]
        short = replace(problem, recipe=recipe)
        made = [train_group(short, rows, b, draws, len(b), "cpu")[0] for b in blocks]
        return made, 0.0

    assert refusal(run) == ""


def test_the_recipe_is_plain_sgd_and_its_settings_can_be_changed(tmp_path):
    write_imdb(tmp_path)
    recipe = imdb(tmp_path, rows=40).recipe
    optimizer = recipe.optimizer([torch.zeros(1, requires_grad=True)])
    wanted = {"lr": 1.0, "momentum": 0, "weight_decay": 0}
    assert type(optimizer) is torch.optim.SGD
    assert {name: optimizer.defaults[name] for name in wanted} == wanted
    assert (recipe.epochs, recipe.batch_size, recipe.l2) == (8, 128, 0.0)
    assert imdb(tmp_path, rows=40, epochs=3).recipe.epochs == 3


@pytest.mark.parametrize("column", ["text", "label", "split"])
def test_a_column_that_is_missing_is_named(tmp_path, column):
    write_imdb(tmp_path, **{column: None})
    with pytest.raises(BadInput, match=f"imdb.parquet has no column '{column}'"):
        imdb(tmp_path, rows=20)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"text": [1] * 160}, "texts that are no strings"),
        ({"label": [2] * 160}, "labels other than 0 and 1"),
        ({"split": ["unsup"] * 160}, "splits other than train and test"),
    ],
)
def test_a_file_of_another_form(tmp_path, changed, match):
    write_imdb(tmp_path, **changed)
    with pytest.raises(BadInput, match=match):
        imdb(tmp_path, rows=20)


def test_a_file_that_is_missing_or_damaged_and_a_wrong_number_of_rows(tmp_path):
    with pytest.raises(BadInput, match=r"there is no file .*imdb\.parquet"):
        imdb(tmp_path)
    write_imdb(tmp_path)
    with pytest.raises(BadInput, match="21 train rows. Expected: a multiple of 2 from 2 to 5000"):
        imdb(tmp_path, rows=21)
    with pytest.raises(BadInput, match="class 0 has 40 rows. Expected: at least 3000"):
        imdb(tmp_path)
    path = tmp_path / "imdb.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"imdb\.parquet cannot be read"):
        imdb(tmp_path)


@REAL
def test_the_real_reviews_are_apart_and_a_model_of_them_is_accurate():
    problem = imdb()
    assert [len(data) for data in problem.splits.values()] == [5000, 1000, 2000]
    train_, *others = (
        Counter(row.numpy().tobytes() for row in data.inputs["input_ids"])
        for data in problem.splits.values()
    )
    # five pairs in the whole file differ in signs alone; equal texts are in no two splits
    assert all(sum((train_ & other).values()) == 0 for other in others)
    assert max(problem.ids) < 25_000
    review = texts(problem, torch.tensor([0]))[0]
    assert words_of_text(review) == words_of(problem.train, 0)
    models, _ = train(problem, "original", [0], seed=0)
    outputs = models.outputs(problem.task, problem.test, torch.arange(2000))
    accuracy = (outputs.argmax(-1) == problem.test.targets).float().mean()
    assert accuracy > 0.83
