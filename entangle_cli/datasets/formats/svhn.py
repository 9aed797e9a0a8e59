"""SVHN's cropped digits, ``train_32x32.mat``: ``X (h, w, c, n)`` uint8, ``y (n, 1)`` 1..10.

The label 10 stands for the digit 0 and becomes 0. The file is read into memory as a whole.
"""

from pathlib import Path

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of
from entangle_cli.datasets.formats.matfile import read_matrices
from entangle_cli.datasets.labels import read_labels
from entangle_cli.datasets.reference import Reference, no_inside, no_split
from entangle_cli.errors import DataError


def read_svhn(reference: Reference) -> Dataset:
    """The images and labels of one .mat file.

    Raises:
        DataError: damaged, or other variables than X and y.
    """
    no_split(reference, "a .mat file")
    no_inside(reference, "a .mat file")
    path = reference.path
    images, stored = _images_and_labels(path)
    labels, _ = read_labels(stored.reshape(-1), len(images), path)
    tens = int((labels == 10).sum())
    notes = (f"label 10 became 0 in {tens} rows",) if tens else ()
    columns = Columns(
        {"images": images}, file_digest(path), np.where(labels == 10, 0, labels), None, notes
    )
    return dataset_of(reference, columns, "svhn")


def _images_and_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    variables = {matrix.name: matrix for matrix in read_matrices(path)}
    images, labels = (variables[n].values if n in variables else None for n in ("X", "y"))
    if images is not None and images.ndim == 3:
        # MATLAB drops a last axis of length one
        images = images[..., None]
    fitting = images is not None and images.dtype == np.uint8 and images.ndim == 4
    if not fitting or labels is None or images.shape[2] not in (1, 3):
        found = ", ".join(f"{m.name} {m.shape}" for m in list(variables.values())[:5]) or "nothing"
        raise DataError(
            f"{path}: not SVHN's X (h, w, 3, n) uint8 and y (found {found}); store it as .npz"
        )
    return np.moveaxis(images, -1, 0), labels
