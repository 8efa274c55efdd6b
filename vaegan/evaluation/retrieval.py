"""Retrieval: whether images of one class are nearest neighbours by their specified code."""

import numpy as np


def retrieval_map(codes: np.ndarray, labels: np.ndarray, batch_size: int = 500) -> float:
    """Mean average precision of retrieval by cosine similarity.

    Each image is a query for the others of its class: AP = (1/R) sum_k P@k rel_k over the ranking
    of all other images, where R is the number of others of its class. Averaged over images with
    R > 0.

    Args:
        codes: float (N, D).
        labels: int64 (N,).
        batch_size: Queries at a time; memory grows as batch_size * N.

    Returns:
        In (0, 1]; about the share of a class if the codes are independent of it.
    """
    norms = np.linalg.norm(codes, axis=1, keepdims=True)
    unit = (codes / np.maximum(norms, 1e-12)).astype(np.float32)
    total, queries = 0.0, 0
    ranks = np.arange(1, len(unit))
    for start in range(0, len(unit), batch_size):
        rows = np.arange(start, min(start + batch_size, len(unit)))
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf  # an image is not its own result
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
        relevant = labels[order] == labels[rows][:, None]
        others = relevant.sum(axis=1)
        precision = np.cumsum(relevant, axis=1) / ranks
        counts = others > 0
        total += float(((precision * relevant).sum(axis=1)[counts] / others[counts]).sum())
        queries += int(counts.sum())
    return total / queries if queries else 0.0
