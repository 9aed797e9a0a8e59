"""``entangle doctor``: what this installation can do, for a bug report or a first check."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli.commands import options

if TYPE_CHECKING:
    from entangle_cli.results import Row

_PACKAGES = (
    "entangle-cli", "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "h5py",
    "pynndescent", "scipy", "scikit-learn", "typer", "rich", "pillow", "matplotlib",
)  # fmt: skip


def doctor(json: options.Json = False, format: options.FormatOption = options.Format.auto) -> None:
    """Versions, devices, libraries and free space; a missing requirement is named."""
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.tables import plain_table

    rows = [*_versions(), *_devices(), *_libraries(), *_places()]
    problems = [f"{row['what']}: {row['found']}" for row in rows if not row["ok"]]
    result = Result(command="doctor", rows=rows, notes=problems)
    show(result, options.chosen_format(format, json), plain_table(rows))


def _row(what: str, found: Any, ok: bool = True) -> "Row":
    return {"what": what, "found": str(found), "ok": ok}


def _versions() -> list["Row"]:
    import platform
    from importlib import metadata

    rows = [_row("python", sys.version.split()[0]), _row("platform", platform.platform())]
    optional = {"onnxruntime-gpu", "matplotlib"}
    for package in _PACKAGES:
        try:
            rows.append(_row(package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            if package not in optional:
                rows.append(_row(package, "missing; install it", ok=False))
    both = {"onnxruntime", "onnxruntime-gpu"} <= {row["what"] for row in rows}
    if both:
        rows.append(
            _row("onnxruntime twice", "uninstall onnxruntime, or CUDA is not found", ok=False)
        )
    return rows


def _devices() -> list["Row"]:
    import onnxruntime
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [
        _row("cpu cores", os.cpu_count()),
        _row("torch threads", torch.get_num_threads()),
        _row("cuda devices (torch)", ", ".join(names) or "none"),
        _row("onnxruntime providers", ", ".join(onnxruntime.get_available_providers())),
    ]


def _libraries() -> list["Row"]:
    import h5py
    import numpy  # noqa: F401  (loads its BLAS)
    from threadpoolctl import threadpool_info

    from entangle_cli.models.sandbox.landlock import landlock_version

    rows = [_row("hdf5", h5py.version.hdf5_version)]
    for pool in threadpool_info():
        found = f"{pool.get('version') or ''} {pool.get('architecture') or ''}".strip()
        rows.append(_row(f"{pool['internal_api']} ({pool['num_threads']} threads)", found or "-"))
    version = landlock_version()
    confined = f"Landlock {version}" if version else "no Landlock: --sandbox has only its limits"
    rows.append(_row("sandbox", confined))
    rows.append(_row("OPENBLAS_CORETYPE", os.environ.get("OPENBLAS_CORETYPE", "not set")))
    return rows


def _places() -> list["Row"]:
    import shutil
    import tempfile

    rows = []
    for name, folder in (("current folder", Path.cwd()), ("scratch", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 2**30
        writable = os.access(folder, os.W_OK)
        found = f"{folder}: {free:.1f} GiB free" + ("" if writable else ", not writable")
        rows.append(_row(name, found, ok=writable))
    return rows
