"""WoodFisher: the inverse of a damped empirical Fisher matrix, times a vector.

Source: Singh and Alistarh 2020, "WoodFisher", arXiv 2004.14340: with gradients g_1 ... g_n of
single rows and F_j^-1 the inverse after j of them, F_0^-1 = I / damping and F_j^-1 v = F_{j-1}^-1
v - F_{j-1}^-1 g_j (g_j . F_{j-1}^-1 v) / (n + g_j . F_{j-1}^-1 g_j). All n steps together are the
inverse of damping I + (1/n) sum_j g_j g_j^T, which Woodbury's identity gives from the n x n
products of gradients at once; that is what is computed here.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def woodfisher(gradients: Tensor, vector: Tensor, damping: float = 1.0) -> Tensor:
    """(damping I + (1/n) sum_j g_j g_j^T)^-1 v.

    Args:
        gradients: (n, P), one row's gradient a line.
        vector: (P,).
        damping: above 0, in units of the Fisher information.

    Returns:
        (P,), in the dtype of the vector.
    """
    n = len(gradients)
    gram = (gradients @ gradients.T).double()
    gram.diagonal().add_(n * damping)
    inner = torch.linalg.solve(gram, (gradients @ vector).double())
    return (vector - gradients.T @ inner.to(vector.dtype)) / damping


def running_woodfisher(gradients: Iterable[Tensor], vector: Tensor, count: int = 1000) -> Tensor:
    """The recursion of the published unlearning code, for comparison with its numbers.

    It keeps one running vector o in the place of F_{j-1}^-1 g_j (the first gradient, shrunk along),
    divides by a fixed `count` whatever n is, and its damping is the identity: k starts as v, and
    for each further gradient g: k -= (k.g) / (count + o.g) o, then o -= (o.g) / (count + o.g) o.

    Args:
        gradients: n of (P,), in the order in which rows are read; no two are held at a time.
        vector: (P,).
        count: 1000 in the published code.
    """
    each = iter(gradients)
    k, o = vector.clone(), next(each).clone()
    for g in each:
        along = o.dot(g)
        k = k - k.dot(g) / (count + along) * o
        o = o - along / (count + along) * o
    return k
