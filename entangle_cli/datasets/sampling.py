"""Fewer samples of a data set, with the balance of its classes kept."""

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import DataError

# labels looked at together
_BLOCK = 1 << 16


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
    classes, counts = class_sizes(labels)
    exact = counts * (n / total)
    share = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(share - exact, kind="stable")
    share[by_remainder[: n - share.sum()]] += 1
    drawn = [
        np.sort(generator.permutation(count)[:wanted])
        for count, wanted in zip(counts, share, strict=True)
    ]
    return _rows_of_members(labels, classes, drawn)


def class_sizes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, sorted, and how many samples have each, without a copy of the labels."""
    found: dict[int, int] = {}
    for start in range(0, len(labels), _BLOCK):
        for label, count in zip(
            *np.unique(labels[start : start + _BLOCK], return_counts=True), strict=True
        ):
            found[int(label)] = found.get(int(label), 0) + int(count)
    classes = sorted(found)
    return np.array(classes, np.int64), np.array([found[label] for label in classes], np.int64)


def _rows_of_members(
    labels: np.ndarray, classes: np.ndarray, members: list[np.ndarray]
) -> np.ndarray:
    """The rows of the ``members[c]``-th samples (sorted numbers from 0) of each class, sorted."""
    seen = np.zeros(len(classes), np.int64)
    drawn = []
    for start in range(0, len(labels), _BLOCK):
        codes = np.searchsorted(classes, labels[start : start + _BLOCK])
        order = np.argsort(codes, kind="stable")
        here = np.bincount(codes, minlength=len(classes))
        firsts = np.cumsum(here) - here
        for code in np.flatnonzero(here):
            low, high = np.searchsorted(members[code], (seen[code], seen[code] + here[code]))
            chosen = members[code][low:high] - seen[code]
            drawn.append(start + order[firsts[code] + chosen])
        seen += here
    return np.sort(np.concatenate(drawn))
