"""What is left of torch's long reports."""

from entangle_cli.models.torchscript.errors import running_reason

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
