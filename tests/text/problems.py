"""Small text classifications: invented rows of tokens, held with their masks, and three models."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from expunge.contract.problems import FORGET, ROWS, generator
from expunge.data import DatasetData, Padding, TensorData
from expunge.problem import Problem, Recipe, TextClassification

WORDS, CLASSES, LONGEST = 40, 3, 7


class Mean(nn.Module):
    """The mean of the words' vectors, by the mask, and one hidden layer."""

    def __init__(self, masked: bool = True):
        super().__init__()
        self.words, self.inner = nn.Embedding(WORDS, 5), nn.Linear(5, 6)
        self.head, self.masked = nn.Linear(6, CLASSES), masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids)
        m = (attention_mask if self.masked else torch.ones_like(attention_mask))[..., None].to(x)
        return self.head(torch.tanh(self.inner((x * m).sum(-2) / m.sum(-2))))


class Bag(nn.Module):
    """An EmbeddingBag that passes over padding."""

    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, 5, mode="sum", padding_idx=0)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.words(input_ids * attention_mask))


class Recurrent(nn.Module):
    """An LSTM, read at each row's last token."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, 5)
        self.lstm, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.lstm(self.words(input_ids))[0]
        last = attention_mask.sum(-1) - 1
        return self.head(states.gather(1, last[:, None, None].expand(-1, 1, 4)).squeeze(1))


class Encoder(nn.Module):
    """Torch's own transformer, whose fast path neither vmap nor forward derivatives know."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 8), nn.Embedding(LONGEST + 9, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = self.places(torch.arange(input_ids.shape[-1], device=input_ids.device))
        x = self.body(self.words(input_ids) + places, src_key_padding_mask=attention_mask == 0)
        m = attention_mask[..., None].to(x)
        return self.head((x * m).sum(-2) / m.sum(-2))


class Attending(nn.Module):
    """One attention by torch's fused kernel, with a mask; each row is one head."""

    def __init__(self):
        super().__init__()
        self.words, self.mix = nn.Embedding(WORDS, 8), nn.Linear(8, 24)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        q, k, v = self.mix(self.words(input_ids))[..., None, :, :].chunk(3, -1)
        seen = (attention_mask != 0)[..., None, None, :]
        x = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).squeeze(-3)
        m = attention_mask[..., None].to(x)
        return self.head(torch.tanh((x * m).sum(-2) / m.sum(-2)))


MODELS = {"embedding": Mean, "bag": Bag, "lstm": Recurrent, "transformer": Encoder}


def rows(count: int, seed: int) -> list[dict]:
    """Rows of 1 to LONGEST words; a class has words of its own among common ones."""
    g, found = generator(seed), []
    for k in range(count):
        length = int(torch.randint(1, LONGEST + 1, (1,), generator=g))
        own = torch.randint(1 + 8 * (k % CLASSES), 17 + 8 * (k % CLASSES), (length,), generator=g)
        found.append({"input_ids": own.tolist(), "label": k % CLASSES})
    return found


def padded(count: int, seed: int) -> DatasetData:
    """As a data set that pads each batch to its longest row."""
    return DatasetData(rows(count, seed), collate=Padding(0))


def held(count: int, seed: int) -> TensorData:
    """As tensors, all rows of one length."""
    return TensorData(*Padding(0)(rows(count, seed)))


def texts(build: Callable[[], nn.Module] = Mean, make=held, **recipe) -> Problem:
    """60 train rows, three classes, 3 epochs; like the contract's `tiny`."""
    settings = {
        "epochs": 3,
        "batch_size": 16,
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        **recipe,
    }
    problem = Problem(
        TextClassification(CLASSES),
        make(ROWS, 1),
        make(30, 2),
        make(24, 3),
        recipe=Recipe(build, **settings),
        name="invented texts",
    )
    return problem.forgetting(list(FORGET))
