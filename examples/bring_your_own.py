"""Your own model, data set and training: forget rows of one trained network, then judge it."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

import expunge
from expunge.forget_sets import principal_end


class Digits(Dataset):  # any map-style data set of (input, target)
    def __init__(self, cut):
        images, labels = load_digits(return_X_y=True)
        self.x = torch.tensor(images[cut] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
        self.y = torch.tensor(labels[cut])

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def build():  # any module, here with batch normalisation and dropout
    conv = (nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*conv, nn.Linear(576, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))


def train(data, rows, *, seed, device):  # your training, from scratch, on these rows only
    model = build().to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(train.epochs):
        for x, y in DataLoader(Subset(data.train, rows.tolist()), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimizer.step()
    return model


train.epochs = 8  # so that costs can be compared with one retraining
cuts = (slice(0, 1400), slice(1400, 1600), slice(1600, 1797))  # train, validation, test
parts = [expunge.DatasetData(Digits(cut)) for cut in cuts]
problem = expunge.Problem(expunge.Classification(10), *parts, recipe=train, name="my digits")

if __name__ == "__main__":
    out = Path("bring-your-own")
    out.mkdir(parents=True, exist_ok=True)
    runtime = expunge.Runtime(expunge.Store(out / "store"))  # keeps what is trained on the way
    model = train(problem.train, torch.arange(1400), seed=0, device="cpu")
    torch.save(model.state_dict(), out / "original.pt")
    digits = problem.train.train
    rows = principal_end(digits.x, (digits.y == 7).nonzero().squeeze(-1), 30)  # one handwriting
    for method in ("fine-tune", "retrain"):
        done = expunge.forget(model, problem, rows, method=method, runtime=runtime)
        judged = expunge.audit(problem, model, done, out=out / method, runtime=runtime)
        print(method, done.cost, "verdict:", judged["methods"][method]["verdict"])
