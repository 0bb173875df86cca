"""Texts by the words they share: numbers by which rows of token ids are alike.

A row's tokens are weighted by TF-IDF: how often a token stands in the row, times how rare it is
among the rows. That table has a column a token and is nearly empty, so it is reduced to its largest
directions (latent semantic analysis, Deerwester et al. 1990, "Indexing by Latent Semantic
Analysis"). Rows then get unit length: the nearest by distance are those of the smallest angle.
A row without tokens is like other such rows, and like no other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor

from expunge.data import Data, walk
from expunge.data.padding import MASK, TOKENS
from expunge.errors import BadInput

MOST = 256  # components


def has_words(data: Data, rows: Tensor) -> bool:
    """Whether the inputs are mappings with token ids, whole numbers (B, L); reads one row."""
    for batch in data.batches([rows[:1]]):
        ids = batch.inputs.get(TOKENS) if isinstance(batch.inputs, Mapping) else None
        return isinstance(ids, Tensor) and ids.ndim == 2 and not ids.is_floating_point()
    return False


def word_features(data: Data, rows: Tensor) -> Tensor:
    """TF-IDF of the tokens of some rows, reduced to at most 256 components.

    The inputs have "input_ids", (B, L), and perhaps "attention_mask", (B, L), 0 where padding is;
    without a mask every token counts. L may differ between batches. The order of a row's tokens
    plays no part.

    Args:
        data: read in batches, each row once.
        rows: row numbers, int64, which alone decide what is rare.

    Returns:
        (len(data), d) float64, d <= 257, rows of unit length; those without tokens have a column
        of their own. NaN for rows that were not asked for.

    Raises:
        BadInput: no token in any row.
    """
    weighted = TfidfTransformer().fit_transform(_counts(data, rows))
    reduced = weighted.toarray()
    if weighted.shape[1] > 1:  # one column has no directions to choose from
        # a fixed start; TruncatedSVD projects the rows, so that equal rows stay equal
        svd = TruncatedSVD(min(MOST, *weighted.shape), random_state=0)
        reduced = svd.fit_transform(weighted)
    empty = weighted.getnnz(axis=1) == 0
    if empty.any():
        reduced = np.hstack([reduced, empty[:, None]])
    reduced = reduced / np.linalg.norm(reduced, axis=1, keepdims=True)
    features = torch.full((len(data), reduced.shape[1]), torch.nan, dtype=torch.float64)
    features[rows] = torch.from_numpy(reduced)
    return features


def _counts(data: Data, rows: Tensor) -> csr_array:
    """How often each token stands in each row, (rows, tokens that there are), float64."""
    places, tokens = [], []
    start = 0
    for batch in data.batches(walk(rows)):
        ids = batch.inputs[TOKENS].cpu()
        mask: Any = batch.inputs.get(MASK)
        present = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.cpu() != 0
        row, column = present.nonzero(as_tuple=True)
        places.append(row + start)
        tokens.append(ids[row, column])
        start += len(ids)
    place, token = torch.cat(places).numpy(), torch.cat(tokens).numpy()
    if not len(token):
        raise BadInput(
            f"no token in any of {len(rows)} rows",
            expected=f"{TOKENS} where {MASK} is not 0",
            fix="check the mask: 1 stands for a token, 0 for padding",
        )
    known, column = np.unique(token, return_inverse=True)
    ones = np.ones(len(token))
    return csr_array((ones, (place, column)), shape=(len(rows), len(known)))
