"""The state of a training run in a file: written as a whole or not at all, read without pickle."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from entangle_cli.errors import UsageError
from entangle_cli.training.settings import differences

# what reading a damaged archive or pickle raises
_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_state(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the file at ``path``; ``identity`` says whose state it is.

    ``state`` holds tensors, numbers, texts, and lists and dictionaries of them.
    """
    buffer = io.BytesIO()
    torch.save({"identity": json.dumps(dict(identity), sort_keys=True), **state}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def read_state(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `write_state` wrote, None where there is no file.

    Raises:
        UsageError: the file is damaged, or belongs to another run; what differs is named.
    """
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings():
            # torch remarks on odd pickles, and reads them
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
        before = json.loads(content.pop("identity"))
    except _DAMAGE as error:
        raise _damaged(path) from error
    # as JSON has it: tuples are lists there
    changed = differences(before, json.loads(json.dumps(dict(identity))))
    if changed:
        raise UsageError(
            f"{path}: belongs to another run ({changed}); give what it was begun with, another "
            "folder (-o), or --overwrite"
        )
    return content


def replace_file(path: Path, content: bytes) -> None:
    """The file has its old content or all of the new, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path}: cannot be read; remove it, or give --overwrite, to start again")
