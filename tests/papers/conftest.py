"""What the claims are run on here: digits under the names of the data sets, and tiny sizes."""

from pathlib import Path

import numpy as np
import pytest

from entangle_cli.datasets import limit, open_dataset
from entangle_cli.papers.claim import Settings
from entangle_cli.papers.shelf import Shelf


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """``mnist``, ``fashion`` and others, each some digits as ``train.npz`` and ``test.npz``."""
    root = tmp_path_factory.mktemp("data")
    for name in ("mnist", "fashion", "notmnist", "svhn", "cifar10"):
        (root / name).mkdir()
        for split, count in (("train", 600), ("test", 200)):
            data = limit(open_dataset(f"digits@{split}"), count, seed=0)
            images = np.stack(data.images(np.arange(len(data))))
            if name == "notmnist":
                images = images[:, ::-1, ::-1]
            np.savez(root / name / f"{split}.npz", images=images, labels=data.labels)
    return root


@pytest.fixture
def settings_for(data_folder, tmp_path):
    """Makes the settings of a claim at the sizes given; networks are kept within one test."""

    def make(sizes, *, scale="quick", seed=0, data=data_folder) -> Settings:
        return Settings(scale, sizes, seed, Shelf(data), tmp_path / "networks")

    return make
