"""`ConfinedModel`: a stranger's network that runs in a sandbox, and nowhere else.

The file is opened, listed and run in a confined child (`confinement`), batch by batch; this
process sees numbers and text. What it is sent is checked: it may be what an attacker wants.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models import Layer, TensorSpec
from entangle_cli.models.head import LinearHead
from entangle_cli.models.sandbox.channel import Nonsense
from entangle_cli.models.sandbox.confinement import Confined, Limits, landlock_version
from entangle_cli.text import plain

if TYPE_CHECKING:
    from entangle_cli.models import Sink

_FORMATS = ("onnx", "torchscript")
# seconds until the libraries are imported, before a byte of the file is read
_START = 120.0
_ENDINGS = ("logits", "probabilities", "log_probabilities")


class EndedEarly(ModelError):
    """A network that had worked took too long; what is committed is kept."""

    exit_code = 3


class ConfinedModel:
    """A `Model` whose file is read by a confined child alone.

    ``limits`` hold for each call: seconds until its answer is there, and bytes of memory.

    Raises:
        ModelError: the file cannot be opened there, or not within the limits.
    """

    def __init__(self, path: Path, *, trust: bool = False, is_onnx: bool, limits: Limits) -> None:
        """An ONNX model may have weights in files beside it, so these are readable, too."""
        self.path, self.device = Path(path), "cpu"
        self._limits = limits
        self._worked = False
        whole = self.path.resolve()
        self._child = Confined(
            "entangle_cli.models.sandbox.serving:serve_model",
            {"path": str(self.path.absolute()), "is_onnx": is_onnx, "trust": trust},
            readable=[self.path, whole, *([self.path.parent, whole.parent] if is_onnx else [])],
            limits=limits,
        )
        self.notes: list[str] = []
        with self._checked():
            self._child.wait(_START)
            self._child.receive()
            self._child.wait(limits.seconds)
            found = self._answer()
            self.format = _one_of(found["format"], _FORMATS)
            self.sha256 = self._identity(str(found["sha256"]))
            self.inputs = tuple(
                TensorSpec(str(name), str(dtype), _shape(shape), bool(declared))
                for name, dtype, shape, declared in found["inputs"]
            )
            self.metadata = {str(key): str(text) for key, text in found["metadata"].items()}
            self.declared = {str(key): _shape(s) for key, s in found["declared"].items()}

    def layers(self, example: Sequence[np.ndarray] | None = None) -> tuple[Layer, ...]:
        """Every tappable layer in execution order; ``example`` is a small batch of inputs."""
        with self._checked():
            given = None if example is None else list(example)
            self._child.send({"call": "layers", "example": given})
            return tuple(
                Layer(
                    name=str(name),
                    kind=str(kind),
                    default=bool(default),
                    shape=_shape(shape),
                    aliases=tuple(map(str, aliases)),
                )
                for name, kind, default, shape, aliases in self._answer()["layers"]
            )

    def run(
        self, inputs: Sequence[np.ndarray], layers: Sequence[str], sink: "Sink"
    ) -> list[np.ndarray]:
        """Run one batch: every value of ``layers`` goes to ``sink``, the outputs are returned.

        Raises:
            EndedEarly: it takes too long, after it had worked.
            ModelError: it fails, or gives what was not asked for.
            MemoryError: this batch needs more memory than it is allowed.
        """
        wanted = set(layers)
        with self._checked():
            self._child.send({"call": "run", "inputs": list(inputs), "layers": list(layers)})
        while True:
            with self._checked():
                answer = self._answer()
                values = _layer_values(answer, wanted)
            if values is None:
                break
            # outside: what a sink raises is no fault of the child
            self._give(sink, answer["layer"], values)
        with self._checked():
            outputs = [x for x in answer["outputs"] if isinstance(x, np.ndarray)]
        self._worked = True
        return outputs

    def head(self, example: Sequence[np.ndarray]) -> LinearHead | None:
        """The last linear layer, None where the class output does not come from one."""
        return self.head_or_reason(example)[0]

    def head_or_reason(self, example: Sequence[np.ndarray]) -> tuple[LinearHead | None, str]:
        """The last linear layer and an empty reason, or None and why there is none."""
        with self._checked():
            self._child.send({"call": "head", "example": list(example)})
            answer = self._answer()
            return _head(answer["head"]), plain(str(answer["reason"]))

    def _give(self, sink: "Sink", name: str, values: np.ndarray) -> None:
        try:
            sink(name, values)
        except BaseException:
            # the rest of the answer is on its way, and would be taken for the next one
            self._child.close()
            raise

    def _answer(self) -> dict[str, Any]:
        """The next part of an answer, with what the model notes.

        Raises:
            ModelError: the child says why it has none.
            MemoryError: for want of memory, although it had worked.
        """
        answer = self._child.receive()
        if not isinstance(answer, dict):
            raise Nonsense("it answered with what is no message")
        if failed := answer.get("failed"):
            self._fail(str(failed), plain(str(answer.get("why")))[:500])
        if "notes" in answer:
            self.notes[:] = [plain(str(note)) for note in answer["notes"]]
            if not landlock_version():
                self.notes.append("this kernel has no Landlock: the sandbox has only its limits")
        return answer

    def _fail(self, kind: str, why: str) -> None:
        why = why.replace(str(self.path.absolute()), str(self.path))
        if kind != "memory":
            raise ModelError(why if self.path.name in why else f"{self.path}: {why}")
        if self._worked:
            raise MemoryError(why)
        allowed = self._limits.memory / 2**30
        raise ModelError(
            f"{self.path}: needs more than the {allowed:.1f} GiB of memory allowed; raise --memory"
        )

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Turns nonsense into an error, and says of which file every error is."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self._child.close()
            raise ModelError(f"{self.path}: refused: its answer is not well formed") from None
        except ModelError as error:
            if str(self.path) in str(error) or self.path.name in str(error):
                raise
            slow = str(error).startswith("stopped after")
            kind = EndedEarly if slow and self._worked else ModelError
            hint = "; allow more with --timeout" if slow else ""
            hint += "; what is committed is kept" * (kind is EndedEarly)
            raise kind(f"{self.path}: {error}{hint}") from None

    def _identity(self, claimed: str) -> str:
        """The checksum, not at the child's word: it could claim to be a network it is not."""
        with self.path.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
        if own == claimed:
            return own
        # weights in other files are part of what is claimed
        return hashlib.sha256(f"{own}\n{claimed}".encode()).hexdigest()


def _layer_values(answer: dict[str, Any], wanted: set[str]) -> np.ndarray | None:
    """The values of a layer that was asked for and not given yet; None in the last answer."""
    if "layer" not in answer:
        return None
    if not isinstance(answer["values"], np.ndarray):
        raise ValueError(answer)
    wanted.remove(answer["layer"])
    return answer["values"]


def _shape(found: Any) -> tuple[int | None, ...] | None:
    if found is None:
        return None
    if any(n is not None and (type(n) is not int or n < 0) for n in found):
        raise ValueError(found)
    return tuple(found)


def _one_of(found: Any, known: Sequence[str]) -> Any:
    if found not in known:
        raise ValueError(found)
    return found


def _head(found: dict[str, Any] | None) -> LinearHead | None:
    if found is None:
        return None
    weight, bias = (np.asarray(found[key], np.float64) for key in ("weight", "bias"))
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(weight.shape)
    ends_in = _one_of(found["ends_in"], _ENDINGS)
    return LinearHead(str(found["features"]), weight, bias, str(found["layer"]), ends_in)
