"""Checkpoints in the order of the training steps in their file names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entangle_cli.errors import ModelError

SUFFIXES = (".onnx", ".pt", ".pth", ".jit", ".ts", ".torchscript", ".ptc")
_KEYWORD = re.compile(
    r"(?:steps?|epochs?|ep|iter(?:ation)?s?|ckpt|checkpoint|batch)[-_=.]?(\d+)", re.IGNORECASE
)
_DIGITS = re.compile(r"\d+")
_DELIMITED = re.compile(r"(?<![0-9A-Za-z])(\d+)(?![0-9A-Za-z])")


@dataclass(frozen=True)
class Checkpoint:
    """One model file with the step that its name tells, None if it tells none."""

    path: Path
    step: int | None
    family: str


def looks_like_model(path: Path) -> bool:
    """Whether a path names a model file, or a folder of nothing but model files at its top."""
    if path.is_dir():
        return bool(_models_inside(path)) and not any(p.is_dir() for p in path.iterdir())
    return path.suffix.lower() in SUFFIXES


def order_checkpoints(paths: Sequence[Path]) -> list[Checkpoint]:
    """The model files of ``paths`` (folders are opened), each family sorted by step.

    Files whose names differ only in numbers are one family. Its step is the number after a word
    such as ``step`` or ``epoch``; else the number that varies within the family; for a file alone
    in its family, a number that stands by itself (``lenet-100``, not ``256x4``).

    Raises:
        ModelError: a folder holds no model files.
    """
    files = [file for path in paths for file in _opened(path)]
    families: dict[str, list[Path]] = {}
    for file in dict.fromkeys(files):
        families.setdefault(_family(file), []).append(file)
    ordered: list[Checkpoint] = []
    for family, members in families.items():
        steps = steps_in_names(members)
        known = [Checkpoint(f, s, family) for f, s in zip(members, steps, strict=True)]
        ordered += sorted(known, key=lambda c: -1 if c.step is None else c.step)
    return ordered


def steps_in_names(members: Sequence[Path]) -> list[int | None]:
    """The training step that each name of one series tells, None where it tells none."""
    keyword = [_KEYWORD.findall(path.stem) for path in members]
    if all(keyword):
        return [int(numbers[-1]) for numbers in keyword]
    if len(members) == 1:
        alone = _DELIMITED.findall(members[0].stem)
        return [int(alone[-1]) if alone else None]
    numbers = [_DIGITS.findall(path.stem) for path in members]
    varying = [i for i, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
    if not varying:
        return [None] * len(members)
    return [int(found[varying[-1]]) for found in numbers]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for each of several files: the file's own, after as many folders as tell it apart."""
    return [_distinct_name(path, paths) for path in paths]


def _distinct_name(path: Path, among: Sequence[Path]) -> str:
    depth = 1
    while depth < len(path.parts) and any(
        other != path and other.parts[-depth:] == path.parts[-depth:] for other in among
    ):
        depth += 1
    return "/".join(path.parts[-depth:])


def _opened(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = _models_inside(path)
    if not inside:
        raise ModelError(
            f"{path}: a folder without model files ({', '.join(SUFFIXES)}); "
            "give a checkpoint or a folder of checkpoints"
        )
    return inside


def _models_inside(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)


def _family(path: Path) -> str:
    return str(path.parent / _DIGITS.sub("#", path.stem)) + path.suffix
