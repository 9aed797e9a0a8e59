"""A TorchScript file loaded, in inference mode, with a way to run it and to read its taps."""

import contextlib
import copy
import sys
import warnings
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

import numpy as np
import torch

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.check import check_graph_interface
from entangle_cli.models.torchscript.errors import FAILURES, RunFailure, loading_reason
from entangle_cli.models.torchscript.graph import Operation, TapGraph, Tapped
from entangle_cli.models.torchscript.inputs import describe, needs
from entangle_cli.models.torchscript.taps import Receiver
from entangle_cli.models.torchscript.values import to_argument


class Network:
    """A loaded module with its tapped graph.

    ``writes_state`` is True while the module may change itself when it runs; then every run gets
    a copy of the module as the file has it. ``notes`` says what is wrong with the file itself.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.name = path.name
        self.device = device
        check_graph_interface()
        self.module, in_training = _load(path, device)
        try:
            self.graph = TapGraph(self.module, device)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        self.needs = needs(self.graph)
        self.inputs = describe(self.graph, self.needs)
        self.writes_state = any(map(_writes_state, self.graph.operations))
        self.notes = _training_notes(self.graph.operations, in_training)
        if self.graph.unresolved:
            self.notes.append(
                f"{len(self.graph.unresolved)} calls choose their module while running; "
                "the layers inside them cannot be tapped"
            )
        weights = (x.dtype for x in self.module.parameters() if x.is_floating_point())
        self._precision = next(weights, None)
        self._tapped: dict[Set[int], Tapped] = {}

    def arguments(self, inputs: Sequence[object]) -> list[object]:
        """``inputs`` as what ``forward`` takes; raises ModelError where they do not fit."""
        arguments = self.graph.arguments
        required = [a.name for a in arguments if not a.has_default_value()]
        if not len(required) <= len(inputs) <= len(arguments):
            names = ", ".join(f"{spec.name} ({spec.dtype})" for spec in self.inputs)
            raise ModelError(f"{self.name} takes the inputs {names}; {len(inputs)} were given")
        converted = []
        for i, (value, argument) in enumerate(zip(inputs, arguments, strict=False)):
            dtype = self.needs[i].dtype if i in self.needs else self._precision
            try:
                converted.append(to_argument(value, argument.type, dtype, self.device))
            except ModelError as error:
                raise ModelError(f"{self.name}, input {argument.name}: {error}") from None
        return converted

    def instance(self) -> torch.jit.ScriptModule:
        """The module to run: a copy where a run would leave traces in it."""
        return copy.deepcopy(self.module) if self.writes_state else self.module

    def run(
        self,
        inputs: Sequence[object],
        sites: Set[int] = frozenset(),
        receiver: Receiver = lambda site, value: None,
        module: torch.jit.ScriptModule | None = None,
    ) -> object:
        """What the module returns for ``inputs``; the values of ``sites`` go to ``receiver``."""
        if sites not in self._tapped:
            self._tapped = {sites: self.graph.tapped(sites)}
        arguments = self.arguments(inputs)
        # without profiling, so that no batch is computed by other kernels than the last one
        with (
            self.guarded(inputs),
            torch.inference_mode(),
            torch.jit.optimized_execution(False),
        ):
            return self._tapped[sites](module or self.instance(), arguments, receiver)

    @contextlib.contextmanager
    def guarded(self, inputs: Sequence[object]) -> Iterator[None]:
        """Turn a failure of the network into a ModelError that says on which input."""
        try:
            # a network may print, but not among the results on standard output
            with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
                # remarks of torch's own on operators that the file happens to use
                warnings.filterwarnings("ignore", r"(?s).*Triggered internally at")
                yield
        except RunFailure as failure:
            shapes = ", ".join(_described(x) for x in inputs)
            message = f"{self.name} does not run on {shapes}: {failure}"
            if failure.out_of_memory:
                raise MemoryError(message) from None
            raise ModelError(message) from None


def _load(path: Path, device: str) -> tuple[torch.jit.ScriptModule, bool]:
    """The module in inference mode, and whether it was saved in training mode."""
    _check_device(device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+. is ", DeprecationWarning)
        try:
            module = torch.jit.load(str(path), map_location=device)
        except FAILURES as error:
            raise ModelError(f"{path}: {loading_reason(error)}") from None
        except MemoryError:
            raise ModelError(
                f"{path}: asks for more memory than there is, for itself or because it is damaged; "
                "export it again"
            ) from None
    in_training = any(getattr(part, "training", False) for part in module.modules())
    try:
        return module.eval(), in_training
    except (AttributeError, RuntimeError):  # frozen by an older torch: no such attribute left
        return module, in_training


def _check_device(device: str) -> None:
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ModelError(f"there is no device {device!r}; take cpu, cuda or cuda:1") from None
    if wanted.type not in ("cpu", "cuda"):
        raise ModelError(f"TorchScript models run on cpu or cuda here, not on {device!r}")
    if wanted.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (wanted.index or 0) >= count:
            raise ModelError(
                f"device {device!r} was asked for, but torch sees {count} CUDA devices here; "
                "use --device cpu"
            )


def _writes_state(operation: Operation) -> bool:
    in_place = operation.kind.endswith("_") and operation.kind.startswith("aten::")
    stored = operation.known[0] if operation.known else None
    return operation.kind == "prim::SetAttr" or (in_place and isinstance(stored, torch.Tensor))


def _training_notes(operations: Sequence[Operation], in_training: bool) -> list[str]:
    """What training mode has left in the file: burnt in by tracing, or a flag that was undone."""
    dropout = normalization = switched = 0
    for operation in operations:
        name, known = operation.kind.rpartition("::")[2].rstrip("_"), operation.known
        switched += name.endswith("dropout") or name in ("batch_norm", "instance_norm")
        if not operation.kind.startswith("aten::"):
            continue
        if name.endswith("dropout") and len(known) == 3:
            dropout += known[2] is True and known[1] != 0
        if name in ("batch_norm", "instance_norm") and len(known) > 5:
            normalization += name == "batch_norm" and known[5] is True
    notes = []
    if dropout:
        notes.append(
            f"traced in training mode: {dropout} dropout operations stay active, so results are "
            "random; trace the model again after model.eval()"
        )
    if normalization:
        notes.append(
            f"traced in training mode: {normalization} batch normalisations use the statistics of "
            "each batch; trace the model again after model.eval()"
        )
    if in_training and switched and not notes:
        notes.append(
            f"saved in training mode: its {switched} dropout and normalization operations are run "
            "in inference mode all the same; save it after model.eval()"
        )
    return notes


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}" if value.ndim else repr(value.item())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_described(x)}" for key, x in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_described, value)) + ")"
    return repr(value)
