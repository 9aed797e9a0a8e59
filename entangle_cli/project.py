"""``entangle.toml``: the models and data sets of a project by name.

    model = "checkpoints/*.onnx"        # a path, a glob or a list of them

    [models]                            # optional: more models by name
    baseline = "baseline.onnx"

    [data]
    test = "data/test"
    cifar10 = "~/data/cifar-10-batches-py@test"

    [preprocess]                        # optional: otherwise probed
    mean = [0.5]
    std = [0.5]

The file is found in the current folder or the nearest one above it; its relative paths start at
its own folder.
"""

import glob
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entangle_cli.errors import UsageError
from entangle_cli.text import suggestion

FILE_NAME = "entangle.toml"
_KEYS = ("model", "models", "data", "preprocess")
# tomllib needs minutes and gigabytes for keys of thousands of parts
_TANGLED = re.compile(r"(?:[\w\"'-]{1,40}[ \t]{0,9}\.[ \t]{0,9}){50}")
_SIZE_LIMIT = 2**20
_NAME = re.compile(r"(.*?)(@[^@\[]*)?(\[\d*:\d*(?::\d*)?\])?", re.DOTALL)
# references that name a built-in set rather than a file
BUILT_IN = ("digits",)


@dataclass(frozen=True)
class Project:
    """A parsed ``entangle.toml``, or an empty one where there is no such file."""

    path: Path | None = None
    model: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    preprocess: Mapping[str, Any] | None = None

    def data_reference(self, reference: str) -> str:
        """The path behind a data set's name; anything that is no name is returned as it is."""
        if reference in self.data:
            return self._located(self.data[reference])
        name, split, rows = _NAME.fullmatch(reference).groups()
        if name not in self.data:
            return reference
        located = self._located(self.data[name])
        if split:
            located = (located.rpartition("@")[0] or located) + split
        return located + (rows or "")

    def model_paths(self, reference: str) -> list[Path]:
        """The files behind a model's name, path or glob."""
        if reference in self.models:
            return _matches(self._located(self.models[reference]))
        return _matches(reference)

    def default_models(self) -> list[Path]:
        """The files of the ``model`` entry."""
        return [path for entry in self.model for path in _matches(self._located(entry))]

    def _located(self, entry: str) -> str:
        name = entry.partition("@")[0]
        if name in BUILT_IN:
            return entry
        expanded = os.path.expanduser(entry)
        folder = self.path.parent if self.path else Path()
        return expanded if os.path.isabs(expanded) else str(folder / expanded)


def find_project(start: Path | None = None) -> Project:
    """The project that ``start`` (default: the current folder) lies in.

    Raises:
        UsageError: the file is not TOML, or has a key or a value that means nothing.
    """
    folder = (start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if path.is_file():
            return read_project(path)
    return Project()


def read_project(path: Path) -> Project:
    """Parse one ``entangle.toml``.

    Raises:
        UsageError: the file is not TOML, or has a key or a value that means nothing.
    """
    try:
        content = tomllib.loads(_modest(path))
    # a ValueError of its own for broken TOML, others for bytes that are no text and huge numbers
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML ({error}); correct that line") from None
    for key in content:
        if key not in _KEYS:
            raise UsageError(
                f"{path}: unknown key {key!r}{suggestion(key, _KEYS)}; "
                f"the file may hold {', '.join(_KEYS)}"
            )
    return Project(
        path=path,
        model=_model_entry(content.get("model", ()), path),
        models=_table_of_text(content, "models", path),
        data=_table_of_text(content, "data", path),
        preprocess=_table(content, "preprocess", path) if "preprocess" in content else None,
    )


def _modest(path: Path) -> str:
    """The text of a file that people may have written."""
    with path.open("rb") as file:
        data = file.read(_SIZE_LIMIT + 1)
    text = data.decode("utf-8")
    if len(data) > _SIZE_LIMIT:
        raise ValueError("more than 1 MiB")
    if _TANGLED.search(text):
        raise ValueError("a key of more than 50 parts")
    return text


def _model_entry(value: Any, path: Path) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)) or not all(map(_is_path, entries)):
        raise UsageError(f"{path}: 'model' must be a path or a list of paths, found {value!r}")
    return tuple(entries)


def _table(content: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: '{key}' must be a table ([{key}]), found {table!r}")
    return table


def _table_of_text(content: Mapping[str, Any], key: str, path: Path) -> Mapping[str, str]:
    table = _table(content, key, path)
    for name, value in table.items():
        if not _is_path(value):
            raise UsageError(f"{path}: [{key}] {name} must be a path in quotes, found {value!r}")
    return table


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _matches(reference: str) -> list[Path]:
    """The path itself where it exists, else what the glob finds, else the path itself."""
    if not _is_path(reference):
        raise UsageError(f"model {reference!r} names nothing; give a path or a name")
    path = Path(os.path.expanduser(reference))
    if os.path.exists(path) or not glob.has_magic(reference):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path)))] or [path]
