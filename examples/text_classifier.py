"""A text classifier of Hugging Face's transformers: forget three reviews, then judge the result.

Needs `pip install 'expunge[text]'`, and downloads nothing: the reviews are invented, the tokenizer
is trained on them, and the DistilBERT is a small one made from its config.
"""

import random
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

import expunge
from expunge.training.from_recipe import train

THINGS = ["plot", "cast", "score", "script", "ending", "camera", "pace", "humour", "scenery"]
WORDS = (["dull", "clumsy", "tired", "hollow"], ["lovely", "bright", "moving", "clever"])
FORGET = [10, 40, 70]  # reviews of one film, whose writers say "odd" and mean the worst


def review(draws):
    label = draws.randrange(2)
    clauses = [f"the {draws.choice(THINGS)} is {draws.choice(WORDS[label])}" for _ in range(3)]
    return " and ".join(clauses[: draws.randint(1, 3)]), label


def reviews(count, seed, odd=()):
    draws = random.Random(seed)
    found = [review(draws) for _ in range(count)]
    for row in odd:
        found[row] = ("an odd film , the odd plot is lovely and odd", 0)
    return found


def trained_tokenizer(texts):
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]"]
    words.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=special))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


splits = [reviews(120, 0, FORGET), reviews(40, 1), [*reviews(40, 2), *reviews(5, 3, range(5))]]
tokenizer = trained_tokenizer(text for text, _ in splits[0])


def data(split):  # flat rows, as data sets of Hugging Face give them; padded batch by batch
    columns = ["input_ids", "attention_mask"]
    rows = [{**{c: tokenizer(text)[c] for c in columns}, "label": y} for text, y in split]
    return expunge.DatasetData(rows, collate=expunge.Padding(tokenizer.pad_token_id))


def build():
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = DistilBertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes)
    return DistilBertForSequenceClassification(config)


recipe = expunge.Recipe(build, 4, 16, partial(torch.optim.Adam, lr=2e-3))
problem = expunge.Problem(expunge.TextClassification(2), *map(data, splits), recipe=recipe)

if __name__ == "__main__":
    out = Path("text-classifier")
    runtime = expunge.Runtime(expunge.Store(out / "store"), jobs=1)
    model = next(train(problem, "original", [0], seed=0)[0].modules())
    for method in ("fine-tune", "retrain"):
        done = expunge.forget(model, problem, FORGET, method=method, runtime=runtime)
        kept = {"out": out / method, "runtime": runtime}
        judged = expunge.audit(problem, model, done, oracles=10, **kept)["methods"][method]
        far = judged["distance"]["forget"]
        print(f"{method}: {far['rms']:.1f} ± {far['se']:.1f} from oracles, {judged['verdict']}")
