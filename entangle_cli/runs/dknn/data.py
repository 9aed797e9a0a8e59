"""What ``entangle dknn`` is given: one model, and training, calibration and test data."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.datasets.overlap import Overlap
from entangle_cli.errors import UsageError
from entangle_cli.project import Project
from entangle_cli.text import plain

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset


def data_names(data: tuple[str, str, list[str]], project: Project) -> tuple[str, str, list[str]]:
    """The references of train, calibration and tests, with the project's ``test`` as default.

    Raises:
        UsageError: a default name that neither the project nor the folder has.
    """
    train, calib, tests = data
    for role, name in (("--train", train), ("--calib", calib)):
        if name in ("train", "holdout") and name not in project.data and not Path(name).exists():
            raise UsageError(f"no {role} data: give {role} DATA, or name {name!r} in entangle.toml")
    if not tests and "test" in project.data:
        tests = ["test"]
    return train, calib, tests


def check_overlap(
    calib: "Dataset",
    others: "Iterable[tuple[str, Dataset]]",
    *,
    force: bool,
    consequence: str = "credibilities are not valid",
) -> list[str]:
    """Notes on calibration samples that occur in other data as well, given with its role.

    Raises:
        UsageError: there are some, and ``force`` is not set.
    """
    overlap = Overlap()
    notes = []
    for role, other in others:
        shared = overlap.shared(calib, other)
        if shared:
            notes.append(
                f"{shared} of {len(calib)} calibration samples of {calib.name} are also in the "
                f"{role} data {other.name}: {consequence}"
            )
    if notes and not force:
        raise UsageError(f"{'; '.join(notes)}; give other data, or --force")
    return notes


def training_labels(train: "Dataset") -> np.ndarray:
    """The labels that neighbors vote with.

    Raises:
        UsageError: a sample without one.
    """
    if train.labels is None or (train.labels < 0).any():
        raise UsageError(
            f"{train.name}: training data needs a label for every sample; neighbors vote with them"
        )
    return train.labels


def calibration_labels(calib: "Dataset", labels: np.ndarray | None) -> np.ndarray:
    """The labels to calibrate with.

    Raises:
        UsageError: there are none.
    """
    if labels is None or (labels < 0).all():
        raise UsageError(
            f"{calib.name}: calibration data needs labels of the training classes; give another set"
        )
    return labels


def known_labels(dataset: "Dataset", train: "Dataset", notes: list[str]) -> np.ndarray | None:
    """A set's labels, None where its classes are others than the training data's."""
    theirs, ours = dataset.class_names, train.class_names
    if theirs is None or ours is None or theirs == ours:
        return dataset.labels
    notes.append(
        f"{dataset.name}: its classes ({', '.join(map(plain, theirs[:3]))}, ...) are not those of "
        f"{train.name}; its labels are not used"
    )
    return None
