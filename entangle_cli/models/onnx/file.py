"""An ONNX file as far as it can be known without running it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError, EncodeError

from entangle_cli.errors import ModelError
from entangle_cli.models import TensorSpec
from entangle_cli.models.onnx.graph import Shape, read_graph, user_inputs
from entangle_cli.models.onnx.quantization import Quantization, read_quantizations
from entangle_cli.models.oplist import OpList
from entangle_cli.text import plain

_DTYPES = {"float": "float32", "double": "float64"}
# tensors larger than this are weights; shape inference needs only the small ones
_SMALL_BYTES = 4096
_NO_TEXT = "not a valid ONNX model: a name in it is not UTF-8; it is damaged, copy it again"


@dataclass(frozen=True)
class OnnxFile:
    """What a file says: its tensors, its operations, and what determines its numbers.

    ``outputs`` are the outputs that are tensors, ``node_names`` what the file calls the maker of
    each tensor.
    """

    path: Path
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    network: OpList
    node_names: dict[str, str]
    shapes: dict[str, Shape]
    types: dict[str, int]
    quantizations: dict[str, Quantization | None]
    metadata: dict[str, str]


def read_file(path: Path) -> OnnxFile:
    """Read and check a file; weights are hashed but not kept.

    Raises:
        ModelError: the file is missing, damaged, no ONNX, or lacks its external data.
    """
    proto = load_proto(path)
    external = _external_files(path, proto)
    _check(path)
    # what is no UTF-8, protobuf hands over as bytes
    if any(isinstance(text, bytes) for text in _texts(proto)):
        raise ModelError(f"{path}: {_NO_TEXT}")
    quantizations = read_quantizations(proto.graph)
    shapes, types = _infer(proto)
    return OnnxFile(
        path=path,
        sha256=_fingerprint(path, external),
        inputs=tuple(_spec(value) for value in user_inputs(proto.graph)),
        outputs=tuple(value.name for value in proto.graph.output if _may_be_tensor(value)),
        network=read_graph(proto.graph, shapes, types),
        node_names={out: node.name for node in proto.graph.node for out in node.output},
        shapes=shapes,
        types=types,
        quantizations=quantizations,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def load_proto(path: Path) -> onnx.ModelProto:
    """The file without its external data, local functions written out."""
    try:
        proto = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        large = path.stat().st_size > onnx.checker.MAXIMUM_PROTOBUF
        reason = "above 2 GB, save its weights as external data" if large else "no ONNX, or damaged"
        raise ModelError(f"{path}: cannot be read as ONNX: {reason}") from None
    if not proto.graph.node:
        raise ModelError(f"{path}: cannot be read as ONNX: no operations in it")
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def _texts(proto: onnx.ModelProto) -> Iterator[str]:
    """Every name and text of a file that is shown or looked up."""
    for entry in proto.metadata_props:
        yield from (entry.key, entry.value)
    yield from _names(proto.graph)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.output, *graph.value_info))
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _names(attribute.g)


def _external_files(path: Path, proto: onnx.ModelProto) -> dict[str, Path]:
    """Files beside the model that hold its weights, by the location the model gives."""
    found: dict[str, Path] = {}
    needed: dict[str, int] = {}
    for tensor in _tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location = entries.get("location", "")
            found[location] = path.parent / location
            end = sum(_bytes(entries.get(key, "")) for key in ("offset", "length"))
            needed[location] = max(needed.get(location, 0), end)
    for location, file in found.items():
        if not location or not file.exists():
            raise ModelError(
                f"{path}: its weights are in the external file '{plain(location)}', which is "
                f"missing; put it into {path.parent}"
            )
        if file.is_file() and file.stat().st_size < needed[location]:
            raise ModelError(
                f"{path}: its external file '{plain(location)}' has {file.stat().st_size} bytes, "
                f"the weights need {needed[location]}; it was cut, copy it again"
            )
    return found


def _bytes(text: str) -> int:
    # the checker judges what is no number
    return int(text) if text.isdecimal() else 0


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(path)
    except UnicodeDecodeError:
        raise ModelError(f"{path}: {_NO_TEXT}") from None
    except onnx.checker.ValidationError as error:
        reason = plain(next(iter(str(error).splitlines()), ""))[:200].rstrip(". ")
        raise ModelError(f"{path}: not a valid ONNX model: {reason}") from None


def _fingerprint(path: Path, external: dict[str, Path]) -> str:
    """SHA-256 of the file; with external data, of the digests of all files with their names."""
    own = _digest(path)
    if not external:
        return own
    together = hashlib.sha256(own.encode())
    for location in sorted(external):
        together.update(f"\n{location}\n{_digest(external[location])}".encode())
    return together.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _infer(proto: onnx.ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes and element types of all tensors that the file declares or that follow from it."""
    for tensor in _tensors(proto.graph):
        if len(tensor.raw_data) > _SMALL_BYTES:
            tensor.ClearField("raw_data")
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except (onnx.shape_inference.InferenceError, EncodeError, ValueError, RuntimeError):
        graph = proto.graph
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type:
            types[value.name] = kind.elem_type
        if kind.HasField("shape"):
            shapes[value.name] = _shape(kind.shape)
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        types[tensor.name] = tensor.data_type
    return shapes, types


def _shape(shape: onnx.TensorShapeProto) -> Shape:
    # old exporters write -1 for a length that varies
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in shape.dim
    )


def _may_be_tensor(value: onnx.ValueInfoProto) -> bool:
    return value.type.WhichOneof("value") in (None, "tensor_type")


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    shape = _shape(kind.shape) if kind.HasField("shape") else None
    return TensorSpec(value.name, _DTYPES.get(name, name), shape)
