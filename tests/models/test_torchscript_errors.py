"""What is left of torch's long reports."""

import pytest
import torch

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.errors import running_reason
from entangle_cli.models.torchscript.model import TorchScriptModel

REPORT = """The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/linear.py", line 12, in forward
    weight = self.weight
    return torch.linear(input, weight, bias)
           ~~~~~~~~~~~~ <--- HERE

Traceback of TorchScript, original code (most recent call last):
linear.py(134): forward
RuntimeError: """


def test_the_reason_is_the_last_line_of_a_report():
    reason = running_reason(RuntimeError(REPORT + "mat1 and mat2 do not fit\n"))
    assert reason == "mat1 and mat2 do not fit"


def test_a_report_without_a_reason_gives_the_line_of_code():
    reason = running_reason(RuntimeError(REPORT + "\n"))
    assert reason == "its code 'return torch.linear(input, weight, bias)' fails"


def test_any_other_error_gives_its_first_line():
    assert running_reason(ValueError("no such input\nmore")) == "no such input"
    assert running_reason(ValueError()) == "ValueError"


def test_a_file_that_asks_for_all_memory_is_refused_by_name(tmp_path, monkeypatch):
    def greedy(*_, **__):
        raise MemoryError("std::bad_alloc")

    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2).eval(), torch.zeros(1, 3)), str(path))
    monkeypatch.setattr(torch.jit, "load", greedy)
    with pytest.raises(ModelError, match=r"net\.pt: asks for more memory than there is"):
        TorchScriptModel(path)
