"""Texts by the words they share: numbers by which rows of token ids are alike.

A row's tokens are weighted by TF-IDF: how often a token stands in the row, times how rare it is
among the rows. That table has a column a token and is nearly empty, so it is reduced to its largest
directions (latent semantic analysis, Deerwester et al. 1990, "Indexing by Latent Semantic
Analysis"). Rows then get unit length: the nearest by distance are those of the smallest angle.
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
from expunge.errors import BadInput

IDS, MASK = "input_ids", "attention_mask"
MOST = 256  # components


def has_words(data: Data, rows: Tensor) -> bool:
    """Whether the inputs are mappings with token ids, whole numbers (B, L); reads one row."""
    for batch in data.batches([rows[:1]]):
        ids = batch.inputs.get(IDS) if isinstance(batch.inputs, Mapping) else None
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
        (len(data), d) float64, d <= 256: rows of unit length, zeros for a row without tokens, NaN
        for rows that were not asked for.

    Raises:
        BadInput: no token in any row.
    """
    weighted = TfidfTransformer().fit_transform(_counts(data, rows))
    size = min(MOST, *weighted.shape)
    # a fixed start; TruncatedSVD projects the rows, so that equal rows stay equal
    reduced = TruncatedSVD(size, random_state=0).fit_transform(weighted)
    lengths = np.linalg.norm(reduced, axis=1, keepdims=True)
    reduced = reduced / np.where(lengths > 0, lengths, 1.0)
    features = torch.full((len(data), size), torch.nan, dtype=torch.float64)
    features[rows] = torch.from_numpy(reduced)
    return features


def _counts(data: Data, rows: Tensor) -> csr_array:
    """How often each token stands in each row, (rows, tokens that there are), float64."""
    places, tokens = [], []
    start = 0
    for batch in data.batches(walk(rows)):
        ids = batch.inputs[IDS].cpu()
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
            expected=f"{IDS} where {MASK} is not 0",
            cure="check the mask: 1 stands for a token, 0 for padding",
        )
    known, column = np.unique(token, return_inverse=True)
    ones = np.ones(len(token))
    return csr_array((ones, (place, column)), shape=(len(rows), len(known)))
