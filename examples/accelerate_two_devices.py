"""One model over several devices (Hugging Face accelerate): forget from it where it lies.

With two GPUs, half of the layers lie on each; without, both halves lie on the CPU, and the
hooks between them work all the same. Methods that need only this one model suit large ones.
"""

from pathlib import Path

import torch
from accelerate import dispatch_model
from sklearn.datasets import load_digits
from torch import nn

import expunge

LAYERS = 6
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
cuts = (slice(0, 1400), slice(1400, 1600), slice(1600, 1797))  # train, validation, test
problem = expunge.Problem(
    expunge.Classification(10), *(expunge.TensorData(x[cut], y[cut]) for cut in cuts), name="digits"
)


def build():
    torch.manual_seed(0)
    middle = [nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(LAYERS - 1)]
    return nn.Sequential(*middle, nn.Linear(64, 10))


def placed(model):
    """The first half of the layers on one device, the second half on the next."""
    devices = [f"cuda:{k}" for k in range(2)] if torch.cuda.device_count() > 1 else ["cpu"] * 2
    device_map = {str(k): devices[2 * k // LAYERS] for k in range(LAYERS)}
    return dispatch_model(model, device_map, force_hooks=True)


def train(model, epochs=15):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows].to(device_of(model))).backward()
            optimizer.step()
    return model


def device_of(model):
    return next(model.parameters()).device


if __name__ == "__main__":
    model = train(placed(build()))
    rows = (y[:1400] == 7).nonzero().squeeze(-1)[:100]  # most of the sevens
    runtime = expunge.Runtime(
        expunge.Store(Path("two-devices/store")), device=str(device_of(model))
    )
    asked = {"fine-tune": {}, "dmm": {"attribution": "linearised:damping=0.01"}}
    for method, settings in asked.items():  # neither trains another model
        done = expunge.forget(model, problem, rows, method=method, runtime=runtime, **settings)
        where = [str(next(layer.parameters()).device) for layer in done.model]
        hooks = sum(hasattr(layer, "_hf_hook") for layer in done.model)
        right = [
            (m(x[rows]).argmax(1).cpu() == y[rows]).float().mean() for m in (model, done.model)
        ]
        print(f"{method}: layers on {where}, {hooks} of {LAYERS} with their hooks;", end=" ")
        print(f"forgotten rows right: {right[0]:.0%} before, {right[1]:.0%} after")
