"""Fewer samples of a data set, with the balance of its classes kept."""

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import DataError


def limit(dataset: Dataset, n: int, seed: int = 0) -> Dataset:
    """At most ``n`` samples drawn without replacement, stratified by class, in their own order.

    Raises:
        DataError: ``n`` is not positive.
    """
    if n < 1:
        raise DataError(f"a limit of {n} samples was given; give 1 or more")
    if n >= len(dataset):
        return dataset
    return dataset.take(stratified_rows(dataset.labels, len(dataset), n, seed))


def stratified_rows(labels: np.ndarray | None, total: int, n: int, seed: int) -> np.ndarray:
    """``n`` sorted rows of ``total``, each class with its share (largest remainders first).

    The share of a class of size ``n_c`` is ``n * n_c / total``; equal remainders go to the smaller
    class label. Without labels the rows are drawn from all alike.
    """
    generator = np.random.default_rng(seed)
    if labels is None:
        return np.sort(generator.permutation(total)[:n])
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    exact = counts * (n / total)
    share = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(share - exact, kind="stable")
    share[by_remainder[: n - share.sum()]] += 1
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    drawn = [
        order[start : start + count][generator.permutation(count)[:wanted]]
        for start, count, wanted in zip(starts, counts, share, strict=True)
    ]
    return np.sort(np.concatenate(drawn))
