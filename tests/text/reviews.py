"""Invented reviews, a tokenizer trained on them, and a small DistilBERT made from its config."""

import os
from functools import cache, partial

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded

import pytest
import torch
from torch import nn

from expunge.contract.problems import generator
from expunge.data import DatasetData, Padding
from expunge.problem import Problem, Recipe, TextClassification

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

THINGS = [
    "plot",
    "cast",
    "score",
    "script",
    "ending",
    "camera",
    "pace",
    "humour",
    "dialogue",
    "scenery",
]
GOOD = ["lovely", "bright", "moving", "clever", "warm", "superb"]
BAD = ["dull", "clumsy", "tired", "hollow", "loud", "wooden"]
LINKS = ["and", "while", "though", "because"]
FORGET = (2, 17, 33)


def sentence(k: int, seed: int) -> tuple[str, int]:
    """The k-th review of one to four clauses, and whether it is a good one."""
    g = generator(1000 * seed + k)

    def one(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=g))]

    label = k % 2
    clauses = [
        f"the {one(THINGS)} is {one(GOOD if label else BAD)}"
        for _ in range(1 + int(torch.randint(4, (), generator=g)))
    ]
    return f" {one(LINKS)} ".join(clauses), label


@cache
def tokenizer():
    """A WordPiece tokenizer of these words."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[MASK]"]
    made.train_from_iterator(
        [sentence(k, 1)[0] for k in range(60)],
        tokenizers.trainers.WordPieceTrainer(vocab_size=150, special_tokens=special),
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]"
    )


def rows(count: int, seed: int) -> DatasetData:
    """Flat mappings, as data sets of Hugging Face give them."""
    made, items = tokenizer(), []
    for k in range(count):
        words, label = sentence(k, seed)
        encoded = made("[CLS] " + words, return_token_type_ids=False)
        items.append({**encoded, "labels": label})
    return DatasetData(items, collate=Padding(made.pad_token_id))


def config(**changed):
    """Two layers of 32."""
    settings = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "num_labels": 2}
    return transformers.DistilBertConfig(
        vocab_size=len(tokenizer()), max_position_embeddings=40, **{**settings, **changed}
    )


def distilbert(attention: str = "sdpa", dropout: float = 0.1) -> nn.Module:
    """A classifier with fresh weights."""
    off = {"dropout": dropout, "attention_dropout": dropout, "seq_classif_dropout": dropout}
    return transformers.DistilBertForSequenceClassification(
        config(attn_implementation=attention, **off)
    )


class Prompted(nn.Module):
    """A masked language model that answers with the logits of two words; its ends are tied."""

    def __init__(self):
        super().__init__()
        self.inner = transformers.DistilBertForMaskedLM(config())
        self.words = [tokenizer().convert_tokens_to_ids(word) for word in ("dull", "lovely")]

    def forward(self, input_ids, attention_mask):
        """Logits, (rows, 2)."""
        logits = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits[:, 0, self.words]


def reviews(build=distilbert, **recipe) -> Problem:
    """60 train reviews, 24 to choose by, 20 to judge by."""
    settings = {"epochs": 4, "batch_size": 12, "optimizer": partial(torch.optim.Adam, lr=3e-3)}
    return Problem(
        TextClassification(2),
        rows(60, 1),
        rows(24, 2),
        rows(20, 3),
        recipe=Recipe(build, **{**settings, **recipe}),
        name="invented reviews",
    )
