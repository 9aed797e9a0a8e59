"""`Feed`: a data set as the input batches of one model."""

import math
from collections.abc import Sequence

import numpy as np

from entangle_cli.activations.duplicates import Duplicates
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.errors import DataError
from entangle_cli.models import TensorSpec
from entangle_cli.models.onnx.values import batch_axis
from entangle_cli.text import plain

# how a TorchScript schema describes a dictionary of tensors
_DICTIONARY = "Dict[str, Tensor]"


class Feed:
    """Batches of a data set in the order, types and shapes of a model's inputs.

    Images go through ``preprocessing``. Arrays go to the input of their name, or the only array
    to the only input, and are cast where nothing is lost. A model whose only input is a dictionary
    of tensors gets them all.

    Attributes:
        dataset: where the samples come from.
        preprocessing: how images become inputs, None for arrays.
        rows: number of samples.
        notes: what of the data set is left out.
        duplicates: counts the samples that are exact copies among those that were read.

    Raises:
        DataError: the data set has not what the model takes.
    """

    def __init__(
        self,
        model_inputs: Sequence[TensorSpec],
        dataset: Dataset,
        preprocessing: Preprocessing | None,
    ) -> None:
        self.inputs = tuple(model_inputs)
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.rows = len(dataset)
        self.notes: list[str] = []
        self.duplicates = Duplicates(self.rows)
        if dataset.kind == "images":
            self._check_images()
        else:
            self._names = self._match(list(dataset.arrays([0])))

    def batch(self, start: int, stop: int) -> list[np.ndarray | dict[str, np.ndarray]]:
        """The inputs of samples ``start`` to ``stop - 1``.

        Raises:
            DataError: a sample has another type or shape than the model takes, or numbers that
                are not finite.
        """
        rows = np.arange(start, min(stop, self.rows))
        if self.dataset.kind == "images":
            names, arrays = ("images",), [self.preprocessing.apply(self.dataset.images(rows))]
        else:
            named = self.dataset.arrays(rows)
            names, arrays = self._names, [named[name] for name in self._names]
        places = [f"{self.dataset.name}: {plain(name)!r}" for name in names]
        for where, array in zip(places, arrays, strict=True):
            self._check_finite(where, array, rows)
        self.duplicates.see(rows, arrays)
        if self._by_name:
            return [dict(zip(names, arrays, strict=True))]
        return [
            shaped(where, typed(where, array, spec), spec, len(rows))
            for where, array, spec in zip(places, arrays, self.inputs, strict=False)
        ]

    @property
    def _by_name(self) -> bool:
        """Whether the model takes one dictionary, and the data set has what goes into one."""
        return self.dataset.kind == "arrays" and [s.dtype for s in self.inputs] == [_DICTIONARY]

    def _check_images(self) -> None:
        if self.preprocessing is None:
            raise DataError(f"{self.dataset.name}: images need a preprocessing; give --preprocess")
        required = [spec for spec in self.inputs if not _optional(spec)]
        if len(required) > 1 or not self.inputs:
            names = ", ".join(plain(spec.name) for spec in self.inputs) or "none"
            raise DataError(
                f"{self.dataset.name}: holds images, but the model takes {len(required)} inputs "
                f"({names}); give an .npz with one array per input"
            )

    def _match(self, held: list[str]) -> tuple[str, ...]:
        """The arrays in the order of the inputs; optional inputs end where one is not given."""
        if self._by_name:
            return tuple(held)
        required = [spec.name for spec in self.inputs if not _optional(spec)]
        if len(held) == 1 and len(required) <= 1 and self.inputs:
            return tuple(held)
        names = []
        for spec in self.inputs:
            if spec.name not in held:
                if _optional(spec):
                    break
                given = ", ".join(map(plain, held))
                raise DataError(
                    f"{self.dataset.name}: has no array {plain(spec.name)!r}; the model takes "
                    f"{', '.join(map(plain, required))}, the data holds {given}"
                )
            names.append(spec.name)
        unused = [plain(name) for name in held if name not in names]
        if unused:
            self.notes.append(f"{self.dataset.name}: not used by the model: {', '.join(unused)}")
        return tuple(names)

    def _check_finite(self, where: str, array: np.ndarray, rows: np.ndarray) -> None:
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return
        bad = ""
        if array.ndim and len(array) == len(rows):
            finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            bad = f" in sample {plain(self.dataset.ids[rows[int(finite.argmin())]])}"
        raise DataError(f"{where}: holds NaN or infinity{bad}; mend or remove it")


def _optional(spec: TensorSpec) -> bool:
    # a TorchScript argument with a default is described as ``type = default``
    return " = " in spec.dtype


def typed(where: str, array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """``array`` in the input's type, where that changes no value beyond rounding a float.

    Raises:
        DataError: floats for an integer input, numbers that do not fit, or no numbers.
    """
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError:
        # described in words: the model says itself what it makes of it
        return array
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and wanted.kind in "iub"):
        raise DataError(f"{where}: is {array.dtype}, the model takes {wanted}; convert the data")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    if array.dtype.kind == "f":
        same = np.isfinite(cast).all() or not np.isfinite(array).all()
    else:
        same = bool((cast == array).all())
    if not same:
        raise DataError(
            f"{where}: {array.dtype} values from {array.min()} to {array.max()} do not fit the "
            f"model's {wanted}; convert the data"
        )
    return cast


def shaped(where: str, array: np.ndarray, spec: TensorSpec, rows: int) -> np.ndarray:
    """``array`` with the axes that the input declares, the batch where it declares it.

    A constant goes to a scalar input. Rows are moved to a later axis when they fit only there.
    Shapes that were merely inferred are not held against the data.

    Raises:
        DataError: the declared shape does not fit.
    """
    if spec.shape == ():
        return _scalar(where, array)
    if spec.shape is None or not spec.declared or array.ndim == 0:
        return array
    axis = batch_axis(spec)
    # data sets have their rows first; an array in the model's own order is taken as well
    moved = np.moveaxis(array, 0, axis) if axis < array.ndim else array
    for candidate in (moved, array):
        if _fits(candidate.shape, spec.shape, axis) and candidate.shape[axis] == rows:
            return np.ascontiguousarray(candidate)
    wanted = (None, *np.delete(spec.shape, axis))
    raise DataError(
        f"{where}: is {_words((None, *array.shape[1:]))}, the model takes {_words(wanted)}"
    )


def _scalar(where: str, array: np.ndarray) -> np.ndarray:
    values = np.unique(array)
    if values.size != 1:
        raise DataError(
            f"{where}: has {values.size} different values, the model takes one number for all; "
            "give a single number"
        )
    return values.reshape(())


def _fits(found: tuple[int, ...], declared: tuple[int | None, ...], batch_axis: int) -> bool:
    return len(found) == len(declared) and all(
        axis == batch_axis or length in (None, here)
        for axis, (here, length) in enumerate(zip(found, declared, strict=True))
    )


def _words(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("n" if length is None else str(length) for length in shape) + ")"


def row_bytes(inputs: Sequence[np.ndarray | dict[str, np.ndarray]], rows: int) -> int:
    """Bytes per sample of a batch of inputs, rounded up."""
    groups = (list(x.values()) if isinstance(x, dict) else [x] for x in inputs)
    return math.ceil(sum(array.nbytes for group in groups for array in group) / rows)
