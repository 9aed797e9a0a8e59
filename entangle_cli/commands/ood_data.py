"""Which data sets ``entangle ood`` is given, and what the project adds."""

from dataclasses import dataclass
from pathlib import Path

from entangle_cli.errors import UsageError
from entangle_cli.project import Project

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


def _optional(given: str | None, default: str, project: Project) -> str | None:
    if given is None:
        return default if default in project.data else None
    return None if given == NONE else given
