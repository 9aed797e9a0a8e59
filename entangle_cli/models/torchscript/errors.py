"""What torch's long messages about a TorchScript file or run come down to, in one line."""

import re

import torch

FAILURES = (RuntimeError, torch.jit.Error, IndexError, TypeError, ValueError)
"""What loading or running a TorchScript network raises when the file or the input is at fault."""


class RunFailure(Exception):
    """The network itself failed on an input; ``str`` of it is the one-line reason."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(running_reason(error))
        self.out_of_memory = is_out_of_memory(error)


_LOADING = (
    (
        r"Unknown builtin op: (\S+?)\.?\s",
        "it uses the operator {0}, which torch does not have; the package that registers it is "
        "not part of entangle, so convert the model to ONNX or save it without that operator",
    ),
    (
        r"required keyword attribute '\w+' is undefined",
        "it was saved after torch.jit.optimize_for_inference, which torch itself cannot load "
        "again; save the module before that step",
    ),
    (
        r"Couldn't find an operator for (\S+?)[(\s]",
        "it uses the operator {0}, which this version of torch does not have",
    ),
    (
        r"__torch__\.torch\.classes\.(\w+)\.(\w+)|Unknown (?:custom )?class",
        "it holds an object of a class that torch does not have ({0}.{1})",
    ),
    (r"Unrecognized data format|constants\.pkl", "it is not a TorchScript file"),
    (r"PytorchStreamReader failed|central directory|miniz", "the file is damaged; copy it again"),
)
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.I)


def loading_reason(error: BaseException) -> str:
    """Why ``torch.jit.load`` failed, as the end of a sentence about the file."""
    text = str(error)
    for pattern, reason in _LOADING:
        if (match := re.search(pattern, text)) is not None:
            return reason.format(*(group or "?" for group in match.groups()))
    return f"torch cannot load it: {running_reason(error)}"


def running_reason(error: BaseException) -> str:
    """The one line of an interpreter's report that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # the report ends with "RuntimeError: mat1 and mat2 ...", after two code listings
    reports = [
        m.group(1) for line in lines if (m := re.match(r"[\w.]*(?:Error|Exception): (.+)", line))
    ]
    line = reports[-1] if reports else _failed_code(lines) or (lines or [type(error).__name__])[0]
    return line if len(line) <= 200 else line[:197] + "..."


def _failed_code(lines: list[str]) -> str | None:
    """The line of the network's code that an interpreter's report without a reason points at."""
    mark = next((i for i, line in enumerate(lines) if line.endswith("<--- HERE")), 0)
    return f"its code {lines[mark - 1]!r} fails" if mark else None


def is_out_of_memory(error: BaseException) -> bool:
    """True if the device or the machine had no memory left, whatever the interpreter made of it."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))
