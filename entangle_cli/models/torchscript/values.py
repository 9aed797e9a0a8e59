"""Values on their way into and out of a TorchScript network: arrays to tensors and back."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.taps import tensors

_SCALARS = {"IntType": int, "FloatType": float, "BoolType": bool}
_INTEGER_IDS = (torch.int64, torch.int32, torch.bool)


def to_argument(value: object, kind: object, dtype: torch.dtype | None, device: str) -> object:
    """``value`` as an argument of torch's type ``kind``.

    Arrays become tensors of their own (the network may overwrite its input); floating numbers
    take ``dtype``, which the first weights have. Single numbers become Python scalars.
    Raises ModelError where the value cannot be that type.
    """
    outer = kind.kind()
    if outer == "OptionalType":
        inner = kind.getElementType()
        return None if value is None else to_argument(value, inner, dtype, device)
    if outer == "TensorType":
        return _to_tensor(value, dtype, device)
    if outer in _SCALARS or outer == "NumberType":
        return _to_scalar(value, outer)
    if outer == "ListType":
        inner = kind.getElementType()
        return [to_argument(x, inner, dtype, device) for x in _elements(value, kind)]
    if outer == "TupleType":
        parts = zip(_elements(value, kind, len(kind.elements())), kind.elements(), strict=True)
        return tuple(to_argument(x, inner, dtype, device) for x, inner in parts)
    if outer == "DictType":
        if not isinstance(value, Mapping):
            raise ModelError(f"expected a dictionary for {kind}, got {_described(value)}")
        inner = kind.getValueType()
        return {key: to_argument(x, inner, dtype, device) for key, x in value.items()}
    return value


def _to_tensor(value: object, dtype: torch.dtype | None, device: str) -> torch.Tensor:
    array = np.asarray(value)
    try:
        tensor = torch.tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    except TypeError:
        raise ModelError(f"an array of {array.dtype} cannot enter a network") from None
    if tensor.is_floating_point() and dtype is not None and dtype.is_floating_point:
        tensor = tensor.to(dtype)
    return tensor.to(device)


def _to_scalar(value: object, kind: str) -> int | float | bool:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        wanted = "number" if kind == "NumberType" else _SCALARS[kind].__name__
        raise ModelError(f"expected a single {wanted}, got {_described(value)}")
    number = array.item()
    if kind == "IntType" and number % 1:
        raise ModelError(f"expected a single int, got {number}")
    return _SCALARS[kind](number) if kind in _SCALARS else number


def _elements(value: object, kind: object, count: int | None = None) -> list:
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        raise ModelError(f"expected a sequence for {kind}, got {_described(value)}")
    if count is not None and len(value) != count:
        raise ModelError(f"expected {count} values for {kind}, got {len(value)}")
    return list(value)


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"


def activation(tensor: torch.Tensor) -> np.ndarray:
    """A tapped value as an array: float32 or float64, token ids and truth values as they are.

    Half precision, small integers and quantised values become float32; a complex number becomes
    a last axis of two. The array may share memory with the network: copy what is to be kept.
    """
    tensor = plain(tensor)
    if tensor.dtype in (torch.float32, torch.float64, *_INTEGER_IDS):
        return tensor.numpy()
    return tensor.to(torch.float32).numpy()


def outputs(value: object) -> list[np.ndarray]:
    """Every tensor that the network returns, in order; numbers and text are left out."""
    arrays = []
    for tensor in tensors(value):
        tensor = plain(tensor)
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.to(torch.float32)
        arrays.append(tensor.numpy().copy())
    return arrays


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A dense, real, unquantised tensor on the CPU with the same values."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.resolve_neg().cpu()


def batch_size(inputs: Sequence[object]) -> int:
    """The number of rows in ``inputs``: the length of the first axis of the first array."""
    for array in _arrays(inputs):
        if array.ndim:
            return array.shape[0]
    return 1


def take_rows(value: object, indices: np.ndarray, rows: int) -> object:
    """The rows ``indices`` of every array that has ``rows`` of them, all else as it is."""
    if isinstance(value, Mapping):
        return {key: take_rows(x, indices, rows) for key, x in value.items()}
    if isinstance(value, tuple):
        return tuple(take_rows(x, indices, rows) for x in value)
    if isinstance(value, list):
        return [take_rows(x, indices, rows) for x in value]
    if isinstance(value, np.ndarray) and value.ndim and value.shape[0] == rows:
        return value[indices]
    return value


def _arrays(value: object):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping):
        for x in value.values():
            yield from _arrays(x)
    elif isinstance(value, (list, tuple)):
        for x in value:
            yield from _arrays(x)
