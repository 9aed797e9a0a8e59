"""The data sets that claims need, found by name below one folder.

A split of ``mnist`` is, below the folder: ``mnist/train.*`` or ``mnist/train-*`` where there is one
file of that kind (a zip of class folders, .npz, .h5, .mat), else ``mnist@train``, which reads a
folder of IDX files, of CIFAR batches, or of ``train`` and ``test`` folders.
"""

from pathlib import Path

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import UsageError
from entangle_cli.training.data import TrainingData, load_images

_FILES = (".zip", ".npz", ".npy", ".h5", ".hdf5", ".mat")


class Shelf:
    """Data sets by name and split; ``folder`` is None where none was given."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._loaded: dict[tuple[str, str], TrainingData] = {}

    def missing(self, needs: tuple[str, ...]) -> list[str]:
        """Which of these, given as ``name@split``, have nothing under their name."""
        names = dict.fromkeys(need.partition("@")[0] for need in needs)
        return [n for n in names if self.folder is None or not (self.folder / n).exists()]

    def open(self, name: str, split: str) -> Dataset:
        """The data set behind a name and a split, its samples still on disk.

        Raises:
            DataError: nothing readable there.
            UsageError: no folder of data sets, or none of this name.
        """
        if self.missing((name,)):
            raise UsageError(f"data set {name}: not found below {self.folder}; give --data DIR")
        alone = _single_file(self.folder / name, split)
        reference = f"{self.folder / name}@{split}" if alone is None else str(alone)
        return open_dataset(reference, name=f"{name}@{split}")

    def load(self, name: str, split: str) -> TrainingData:
        """All images and labels of a split, read once.

        Raises:
            DataError: nothing readable there, or no images with labels.
        """
        if (name, split) not in self._loaded:
            self._loaded[name, split] = load_images(self.open(name, split))
        return self._loaded[name, split]

    def fingerprints(self, needs: tuple[str, ...]) -> dict[str, str]:
        """The identity of each of these, given as ``name@split``."""
        return {need: self.open(*need.split("@")).fingerprint for need in needs}


def _single_file(folder: Path, split: str) -> Path | None:
    if not folder.is_dir():
        return None
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _FILES and path.stem.partition("-")[0].partition("_")[0] == split
    ]
    return found[0] if len(found) == 1 else None
