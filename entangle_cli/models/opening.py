"""One door for every model file: the content decides who reads it."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.errors import ModelError
from entangle_cli.models.formats import REASONS, file_kind

if TYPE_CHECKING:
    from entangle_cli.models import Model
    from entangle_cli.models.sandbox.confinement import Limits


def open_model(
    path: str | Path,
    *,
    device: str = "cpu",
    trust: bool = False,
    sandbox: "Limits | None" = None,
) -> "Model":
    """Open the ONNX or TorchScript file at ``path`` to run on ``device``.

    ``trust`` loads a TorchScript file whose program would otherwise be refused (see `safety`).
    ``sandbox`` opens and runs the file in a confined process with these limits (`confined`).
    Raises ModelError for a file that is missing, of another kind, damaged or refused, and for a
    device that is not there.
    """
    path = Path(path)
    _check_readable(path)
    kind = file_kind(path)
    is_onnx = kind == "onnx" or (kind == "unknown" and path.suffix == ".onnx")
    if sandbox is not None and (is_onnx or kind == "torchscript"):
        from entangle_cli.models.sandbox.confined import ConfinedModel

        if device != "cpu":
            raise ModelError(f"{path}: a sandbox runs on the CPU only; give --device cpu")
        return ConfinedModel(path, trust=trust, is_onnx=is_onnx, limits=sandbox)
    if is_onnx:
        from entangle_cli.models.onnx.model import OnnxModel

        return OnnxModel(path, device=device)
    if kind == "torchscript":
        from entangle_cli.models.torchscript.model import TorchScriptModel

        return TorchScriptModel(path, device=device, trust=trust)
    raise ModelError(f"{path}: {REASONS[kind]}")


def _check_readable(path: Path) -> None:
    """Refuse what is no ordinary file before it is opened: a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ModelError(f"{path}: {os.strerror(error.errno).lower()}") from None
    if stat.S_ISDIR(mode):
        raise ModelError(f"{path}: a folder, not a model; give the model file itself")
    if not stat.S_ISREG(mode):
        raise ModelError(f"{path}: not an ordinary file")
    if not os.access(path, os.R_OK):
        raise ModelError(f"{path}: permission denied")
    if any("\ud800" <= character <= "\udfff" for character in str(path)):
        raise ModelError(f"{path}: its name is not UTF-8, which the readers need; rename it")
