"""IMDB: film reviews in English, for or against the film, with a small network of words.

Source: Maas et al. 2011, Learning Word Vectors for Sentiment Analysis (ACL). The data folder holds
it as imdb.parquet with the columns text, label (0 against, 1 for) and split ("train", "test"),
sorted by label. 406 texts stand there more than once, 123 of them in both splits: only the first
of equal ones is used, so that no validation or test review is also a train review.

Words become numbers by hashing. There is no vocabulary fitted on reviews, so nothing of a
forgotten review remains in the tokenizer.
"""

import re
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from expunge.data import TensorData
from expunge.data.padding import MASK, TOKENS
from expunge.errors import BadInput
from expunge.problem import Problem, Recipe, TextClassification
from expunge.problem.recipe import linear
from expunge.rng import Draws
from expunge.zoo.balanced import balanced, trial_rows
from expunge.zoo.data_folder import damaged, data_file
from expunge.zoo.parquet import columns, require_readers

FILE = "imdb.parquet"
SOURCE = "IMDB reviews as a parquet file with columns text, label (0 or 1) and split"
ROWS = 5_000
BUCKETS = 16_384  # numbers of words; 0 is padding
LONGEST = 192  # words a review
WORD = re.compile(r"[a-z0-9']+")


class WordBag(nn.Module):
    """The mean of the words' embeddings, a hidden layer with ReLU, two logits: 262,450 weights.

    Args:
        buckets: how many numbers words have, padding included.
        width: of an embedding, and of the hidden layer.
    """

    # of the mean: words pull in many directions, and their mean is small; with it one learning
    # rate suits all layers, as plain SGD needs
    scale = 32.0

    def __init__(self, buckets: int = BUCKETS, width: int = 16) -> None:
        super().__init__()
        self.words = nn.Embedding(buckets, width)
        nn.init.normal_(self.words.weight, std=1 / self.scale)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, 2) from word numbers int64 (B, L) and a mask (B, L), 0 where padding is."""
        present = attention_mask.to(self.words.weight.dtype).unsqueeze(-1)
        total = (self.words(input_ids) * present).sum(-2)
        mean = total / present.sum(-2).clamp(min=1)  # a review may have no word
        return self.head(torch.relu(self.hidden(self.scale * mean)))


def tokens(reviews: list[str], longest: int = LONGEST) -> dict[str, Tensor]:
    """Reviews as numbers of words.

    A word is a run of ASCII letters, digits and apostrophes, in small letters, without HTML's line
    breaks; other characters end it. A review has each of its words once, where it stands last, and
    at most the last `longest` of them: a verdict stands at the end. The number of a word is its
    CRC-32 modulo the number of buckets, so that words may share one.

    Returns:
        "input_ids", int64 (reviews, longest), 0 behind the words; and "attention_mask", int64,
        1 where a word is.
    """
    ids = torch.zeros(len(reviews), longest, dtype=torch.int64)
    known: dict[str, int] = {}
    for row, review in enumerate(reviews):
        words = WORD.findall(review.lower().replace("<br />", " "))
        once = list(dict.fromkeys(reversed(words)))[:longest][::-1]
        for word in once:
            if word not in known:
                known[word] = 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)
        ids[row, : len(once)] = torch.tensor([known[w] for w in once], dtype=torch.int64)
    return {TOKENS: ids, MASK: (ids > 0).long()}


def imdb(
    data: Path | str | None = None, rows: int | None = None, *, epochs: int | None = None
) -> Problem:
    """The problem: 5,000 train and 1,000 validation reviews of the official 25,000; 2,000 test.

    Test reviews are of the official test set. All have as many reviews of each label and are
    drawn once; a row's id is its number in the file. Inputs are those of `tokens`, the model is
    `WordBag`, and the optimizer plain SGD, which what is known of unrolling assumes. Adam was
    tried beside it (lr 0.01, 4 epochs). Seconds per training on one core with one thread, alone
    and in groups of five, and the mean accuracy of six trainings (sd 0.2 to 0.4):

    =========  ========  ==========  =========  ==============  ========
    optimizer  alone, s  grouped, s  train (%)  validation (%)  test (%)
    =========  ========  ==========  =========  ==============  ========
    SGD        0.90      0.77        95.2       85.9            84.6
    Adam       0.48      0.47        99.9       85.5            83.4
    =========  ========  ==========  =========  ==============  ========

    Args:
        data: the data folder; see `data_file`.
        rows: train reviews for a trial, an even number, with proportionally few others.
        epochs: other than 8, e.g. 1 for a trial.

    Raises:
        BadInput: a file that is missing or damaged; too few rows; pyarrow is not installed.
    """
    total = trial_rows(rows, ROWS, classes=2)
    texts, labels, of_test = _reviews(data)
    places = {text: n for n, text in reversed(list(enumerate(texts)))}
    first = torch.tensor(sorted(places.values()), dtype=torch.int64)
    official, test = first[~of_test[first]], first[of_test[first]]
    draws = Draws((0, "imdb", "split"))
    train, validation = balanced(labels[official], 2, total, max(2, total // 10 * 2), draws)
    judged, _ = balanced(labels[test], 2, max(2, total // 5 * 2), 0, draws.at("test"))
    splits = [official[train], official[validation], test[judged]]
    made = [TensorData(tokens([texts[n] for n in own.tolist()]), labels[own]) for own in splits]
    return Problem(
        TextClassification(2),
        *made,
        recipe=Recipe(
            build=WordBag,
            epochs=8 if epochs is None else epochs,
            batch_size=128,
            optimizer=partial(torch.optim.SGD, lr=1.0),
            schedule=linear,
        ),
        ids=splits[0].tolist(),
        name="IMDB reviews",
    )


def texts(problem: Problem, rows: Tensor, data: Path | str | None = None) -> list[str]:
    """What was written: the reviews of some train rows of `imdb`, for a report, lines broken.

    Args:
        problem: one that `imdb` made.
        rows: row numbers, int64.
        data: the data folder that the problem was made from.

    Raises:
        BadInput: another problem; the file is missing or damaged, or not the one that the problem
            was made from.
    """
    known, inputs = problem.ids, getattr(problem.train, "inputs", None)
    if known is None or not isinstance(inputs, Mapping) or TOKENS not in inputs:
        raise BadInput(
            f"the problem '{problem.name}'",
            expected="the problem imdb, whose ids are numbers in the file",
            fix="pass the texts yourself",
        )
    written, _, _ = _reviews(data)
    places = [int(known[row]) for row in rows.tolist()]
    found = [written[place] for place in places if place < len(written)]
    held = inputs[TOKENS][rows]
    if len(found) < len(places) or not torch.equal(tokens(found)[TOKENS], held):
        raise BadInput(
            f"{data_file(data, FILE, SOURCE)} holds other reviews than the problem",
            expected="the file that the problem was made from",
            fix="name its folder, or make the problem again",
        )
    return [text.replace("<br />", "\n") for text in found]


def _reviews(data: Path | str | None) -> tuple[list[str], Tensor, Tensor]:
    """Texts, labels int64, and whether each is of the official test set, in the file's order."""
    require_readers("IMDB")
    path = data_file(data, FILE, SOURCE)
    texts, labels, splits = columns(path, ("text", "label", "split"), SOURCE)
    if not all(isinstance(text, str) for text in texts):
        raise damaged(path, "holds texts that are no strings", SOURCE)
    if not all(label in (0, 1) for label in labels):
        raise damaged(path, "holds labels other than 0 and 1", SOURCE)
    if not set(splits) <= {"train", "test"}:
        raise damaged(path, "holds splits other than train and test", SOURCE)
    of_test = torch.tensor([one == "test" for one in splits], dtype=torch.bool)
    return texts, torch.tensor(labels).long(), of_test
