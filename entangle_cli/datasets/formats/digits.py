"""``digits``: the 1,797 handwritten digits that scikit-learn brings, 8x8 grey.

The values 0..16 become pixels 0..255 by round(v * 255 / 16).

``@train`` (1,074), ``@holdout`` (359) and ``@test`` (364) partition it: within each class, in an
order drawn once with seed 0, the first 60 % (rounded down) are train, of the rest the first half
(rounded down) holdout, the others test. Without a split it is all of them.
"""

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import combined
from entangle_cli.datasets.formats.arrays import Columns, dataset_of
from entangle_cli.datasets.reference import Reference, choose_split, no_inside

SPLITS = ("train", "holdout", "test")


def read_digits(reference: Reference) -> Dataset:
    """The bundled digits, or one split of them.

    Raises:
        DataError: a split other than train, holdout and test.
    """
    from sklearn.datasets import load_digits

    no_inside(reference, "digits")
    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    if reference.split is not None:
        split, _ = choose_split(reference.split, SPLITS, "digits")
        rows = split_rows(labels)[split]
        pixels, labels = pixels[rows], labels[rows]
    names = tuple(str(digit) for digit in range(10))
    columns = Columns({"images": pixels}, combined(pixels.tobytes()), labels, names)
    return dataset_of(reference, columns, "digits")


def split_rows(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each split, sorted: a stratified partition that never changes."""
    generator = np.random.default_rng(0)
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        train = len(rows) * 6 // 10
        holdout = train + (len(rows) - train) // 2
        for split, part in zip(SPLITS, np.split(rows, (train, holdout)), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(rows)) for split, rows in parts.items()}
