"""Fixtures shared by all tests."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import numpy as np

# as the command line does, before any test imports torch
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# --doctest-modules would import these a second time, under one name for all folders
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, so that no process is left with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data sets beside the checkout, where there is one."""
    folder = CHECKOUT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("no ../shared folder with real models and data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def project_folder(tmp_path_factory) -> Path:
    """What ``entangle demo`` makes, without the measuring: read it, do not write into it."""
    from entangle_cli.commands.demo import make_project
    from entangle_cli.runs.shared.console import Terminal

    folder = tmp_path_factory.mktemp("project")
    make_project(folder, 0, overwrite=False, terminal=Terminal(quiet=True))
    return folder


@pytest.fixture(scope="session")
def trained_onnx(project_folder) -> Path:
    """A network that knows digits; ``.with_suffix(".pt")`` is the same as TorchScript."""
    return project_folder / "checkpoints" / "digits-step1000.onnx"


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory) -> Path:
    """200 digits as ``images/<class>/<number>.png``; ``test.npz`` beside it holds the same."""
    import numpy as np

    root = tmp_path_factory.mktemp("files")
    images, labels = write_digits(root / "images", "test", 200)
    np.savez(root / "test.npz", images=images, labels=labels)
    return root / "images"


def write_digits(folder: Path, split: str, count: int) -> "tuple[np.ndarray, np.ndarray]":
    """Write digits as one folder of PNG files per class; returns the images and labels."""
    import numpy as np
    from PIL import Image

    from entangle_cli.datasets import limit, open_dataset

    digits = limit(open_dataset(f"digits@{split}"), count, seed=0)
    images = np.stack(digits.images(np.arange(len(digits))))[..., 0]
    for number, (image, label) in enumerate(zip(images, digits.labels, strict=True)):
        inside = folder / str(label)
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{number:04d}.png")
    return images, digits.labels


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """Makes a folder of class folders of one split of the digits."""

    def make(split: str, count: int) -> Path:
        folder = tmp_path_factory.mktemp(split) / split
        write_digits(folder, split, count)
        return folder

    return make
