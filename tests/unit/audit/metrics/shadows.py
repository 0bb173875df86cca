"""Invented shadow models: modified entropies of three classes, log-normal."""

import torch
from torch import Tensor

from expunge.audit.metrics.shadow import Shadow

CLASSES = 3


def signals(members: int, rows: int, seed: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """(members, rows) values whose logarithm is normal around `shift` and the class; targets."""
    g = torch.Generator().manual_seed(seed)
    targets = torch.arange(rows) % CLASSES
    logs = torch.randn(members, rows, generator=g, dtype=torch.float64) + shift - targets
    return logs.exp(), targets


def shadow(members: int, rows: int, seed: int = 0, shift: float = 0.0) -> Shadow:
    """Its trained rows lie `shift` below those it has not seen."""
    return Shadow(*signals(members, rows, seed, -shift), *signals(members, rows, seed + 1))
