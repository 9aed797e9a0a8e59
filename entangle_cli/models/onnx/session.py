"""onnxruntime with chosen tensors as the outputs.

A tensor is exposed by its name alone; onnxruntime infers its type. Everything stays optimised,
only fusions across an exposed tensor are off.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import EncodeError
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from entangle_cli.errors import ModelError
from entangle_cli.models.onnx.file import load_proto
from entangle_cli.models.onnx.values import bfloat16_bits
from entangle_cli.text import plain

_FAILURES = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
# "/src/core/file.cc:46 void f(int) ", and the same with a bare name for the function
_SOURCE = re.compile(
    r"(?:/\S*/)?\w+\.(?:cc|h):\d+ (?:[^()]*?::\w+\(.*?\)(?: const)? (?=[A-Z])|\w+ )"
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
# what an allocator says, in the words of onnxruntime, of C++ and of CUDA
_NO_MEMORY = re.compile(r"(?i)failed to allocate memory|bad_alloc|out of memory|OUT_OF_MEMORY")
_ONLY_FATAL = 4
# numpy has no type for it, so onnxruntime cannot hand it out
_BFLOAT16 = "tensor(bfloat16)"


class BatchTooLarge(ModelError, MemoryError):
    """There was not enough memory for a run; a smaller batch may fit."""


class TapSession:
    """One onnxruntime session that returns the tensors ``names``.

    ``types`` has what onnxruntime says of each, ``shapes`` its shape with None for free lengths.
    """

    def __init__(
        self, path: Path, names: Sequence[str], *, providers: list, free: Mapping[str, int]
    ):
        """Load the network; ``free`` are inputs with the axis to accept any length on.

        ``providers`` comes from `providers_for`. Names that turn out not to be tensors are not in
        ``types``.

        Raises:
            ModelError: onnxruntime cannot run the network, or not on this device.
        """
        self._path = path
        wanted = {name: name for name in dict.fromkeys(names)}
        session = _load(path, _expose(path, wanted, free), providers)
        narrow = [o.name for o in session.get_outputs() if o.type == _BFLOAT16]
        if narrow:
            wanted.update((name, f"{name} as float32") for name in narrow)
            session = _load(path, _expose(path, wanted, free), providers)
        missing = {_name(p) for p in providers} - set(session.get_providers())
        if missing:
            raise ModelError(
                f"{path}: onnxruntime could not start {', '.join(missing)}; check the driver and "
                "the CUDA libraries, or use device cpu"
            )
        self._session, self._wanted = session, wanted
        declared = {o.name: o for o in session.get_outputs()}
        tensors = {
            name: declared[exposed]
            for name, exposed in wanted.items()
            if declared[exposed].type.startswith("tensor(")
        }
        self.types = {name: o.type for name, o in tensors.items()}
        self.shapes = {name: _lengths(o.shape) for name, o in tensors.items()}
        self._inputs = {i.name: i.type for i in session.get_inputs()}

    def run(self, feed: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """The tensors ``names`` for one batch.

        Raises:
            ModelError: onnxruntime stops.
            BatchTooLarge: it stops for want of memory.
        """
        fetched = [self._wanted[name] for name in names]
        options = onnxruntime.RunOptions()
        options.log_severity_level = _ONLY_FATAL
        try:
            if _BFLOAT16 not in self._inputs.values():
                return self._session.run(fetched, dict(feed), options)
            values = {name: self._ort_value(name, array) for name, array in feed.items()}
            results = self._session.run_with_ort_values(fetched, values, options)
            return [value.numpy() for value in results]
        except _FAILURES as error:
            kind = BatchTooLarge if _NO_MEMORY.search(str(error)) else ModelError
            raise kind(f"{self._path}: cannot be run: {first_sentence(error)}") from None

    def _ort_value(self, name: str, array: np.ndarray) -> onnxruntime.OrtValue:
        if self._inputs[name] != _BFLOAT16:
            return onnxruntime.OrtValue.ortvalue_from_numpy(array)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
            bfloat16_bits(array), onnx.TensorProto.BFLOAT16
        )


def providers_for(device: str) -> list:
    """What onnxruntime is to run on, for ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ModelError: this onnxruntime was built without CUDA, or the device is another one.
    """
    cpu = "CPUExecutionProvider"
    if device == "cpu":
        return [cpu]
    kind, _, number = device.partition(":")
    available = onnxruntime.get_available_providers()
    if kind != "cuda" or "CUDAExecutionProvider" not in available:
        raise ModelError(
            f"device {device!r} was asked for, but this onnxruntime has only "
            f"{', '.join(available)}; install onnxruntime-gpu, or use device cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": number or "0"}), cpu]


def _name(provider: str | tuple[str, dict]) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _expose(path: Path, wanted: Mapping[str, str], free: Mapping[str, int]) -> bytes:
    """The file with the tensors ``wanted`` as its only outputs, each under the name to give it."""
    proto = load_proto(path)
    graph = proto.graph
    del graph.output[:]
    for name, exposed in wanted.items():
        graph.output.append(onnx.ValueInfoProto(name=exposed))
        if exposed != name:
            to = onnx.TensorProto.FLOAT
            graph.node.append(onnx.helper.make_node("Cast", [name], [exposed], to=to))
    if free:
        del graph.value_info[:]
    for value in graph.input:
        if value.name in free:
            value.type.tensor_type.shape.dim[free[value.name]].dim_param = "samples"
    try:
        return proto.SerializeToString()
    except (EncodeError, ValueError):
        raise ModelError(
            f"{path}: its weights inside the file are above 2 GB; save them as external data"
        ) from None


def _load(path: Path, model: bytes, providers: list) -> onnxruntime.InferenceSession:
    onnxruntime.set_default_logger_severity(_ONLY_FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    options.intra_op_num_threads = _threads()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent.resolve())
    )
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except _FAILURES as error:
        raise ModelError(f"{path}: cannot be run: {first_sentence(error)}") from None


def _threads() -> int:
    """``OMP_NUM_THREADS``, as every other library here; 0 leaves the choice to onnxruntime."""
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    return int(text) if text.isdecimal() else 0


def _lengths(shape: Sequence) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) else None for n in shape)


def first_sentence(error: Exception) -> str:
    """What onnxruntime says, without its code, its stack and everything after the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = plain(_SOURCE.sub("", _PREFIX.sub("", lines[0]))) if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
