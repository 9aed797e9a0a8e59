"""Which data sets ``entangle ood`` is given, and what the project adds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.errors import UsageError
from entangle_cli.project import Project

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset

# on the command line: not even what the project names
NONE = "none"


@dataclass(frozen=True)
class OODData:
    """References of the data sets; training and calibration data may be missing."""

    inside: str
    outside: tuple[str, ...]
    train: str | None = None
    calib: str | None = None


def ood_data(
    inside: str, outside: list[str], train: str | None, calib: str | None, project: Project
) -> OODData:
    """The references of all sets; ``train`` and ``holdout`` of the project are the defaults.

    Raises:
        UsageError: no outside data, or no inside data.
    """
    if not outside:
        raise UsageError("no out-of-distribution data: give --out DATA, once or more often")
    if inside == "test" and "test" not in project.data and not Path(inside).exists():
        raise UsageError("no --in data: give --in DATA, or name 'test' in entangle.toml")
    return OODData(
        inside=inside,
        outside=tuple(outside),
        train=_optional(train, "train", project),
        calib=_optional(calib, "holdout", project),
    )


def reachable_neighbors(k: int, train: "Dataset", queried: Iterable["Dataset | None"]) -> int:
    """``k``, or as many neighbors as every set can have; an input is not its own neighbor."""
    same = any(other is not None and other.fingerprint == train.fingerprint for other in queried)
    return min(k, max(1, len(train) - same))


def shared_notes(
    train: "Dataset | None", calib: "Dataset | None", tests: "Sequence[Dataset]"
) -> list[str]:
    """Notes on samples that sets share which should have none in common.

    Calibration data among training and inside data is another matter: it is refused.
    """
    from entangle_cli.datasets.overlap import Overlap

    inside, *outside = tests
    pairs = [(inside, "training", train)]
    pairs += [(inside, "outside", test) for test in outside]
    for role, other in (("training", train), ("calibration", calib)):
        pairs += [(test, role, other) for test in outside]
    overlap = Overlap()
    return [
        f"{shared} of {len(one)} samples of {one.name} are also in the {role} data {other.name}: "
        "the numbers are not those of separate sets"
        for one, role, other in pairs
        if other is not None and (shared := overlap.shared(one, other))
    ]


def has_labels(dataset: "Dataset | None") -> bool:
    """Whether there is a data set, and a sample of it has a label."""
    return dataset is not None and dataset.labels is not None and bool((dataset.labels >= 0).any())


def _optional(given: str | None, default: str, project: Project) -> str | None:
    if given is None:
        return default if default in project.data else None
    return None if given == NONE else given
