"""What people see while they wait: bars, lines with the time left, and trends in any encoding."""

import io
import re
import sys

import pytest

from entangle_cli.runs.shared import console
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.tables import sparkline


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


class Tty(io.StringIO):
    def isatty(self):
        return True


def work(terminal, clock, seconds, total=10):
    terminal.start("reading", total)
    for _ in range(total):
        clock[0] += seconds
        terminal.advance()
    terminal.finish()


def test_without_a_terminal_a_line_now_and_then_tells_the_time_left(clock, capsys):
    work(Terminal(), clock, 12.0)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 3 of 10, 84 s left",
        "reading: 6 of 10, 48 s left",
        "reading: 9 of 10, 12 s left",
    ]


def test_a_quick_step_and_a_quiet_one_say_nothing(clock, capsys):
    work(Terminal(), clock, 1.0)
    work(Terminal(quiet=True), clock, 100.0)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_with_count_and_time(monkeypatch):
    err = Tty()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    terminal.start("reading [b]x", 4)
    terminal.advance(3)
    # a step that an error left open does not stand in the way of the next
    terminal.start("measuring", 2)
    terminal.advance()
    terminal.finish()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue())
    assert "reading [b]x" in shown
    assert "3/4" in shown
    assert "1/2" in shown
    assert re.search(r"\d:\d\d:\d\d|-:--:--", shown)


@pytest.mark.parametrize(("encoding", "trend"), [("utf-8", "▁█▅"), ("ascii", "_@+"), (None, "_@+")])
def test_a_trend_is_drawn_in_what_stdout_speaks(monkeypatch, encoding, trend):
    class Out:
        pass

    Out.encoding = encoding
    monkeypatch.setattr(sys, "stdout", Out())
    assert sparkline([0.0, 1.0, 0.5]) == trend
    assert sparkline([0.0, None, 1.0]) == f"{trend[0]} {trend[1]}"
    assert sparkline([None]) == ""
    assert sparkline([2.0, 2.0]) == trend[0] * 2


@pytest.fixture
def steps(monkeypatch):
    """Every step that a command begins, with its units: (name, total, done)."""
    begun = []
    real_start, real_advance = Terminal.start, Terminal.advance

    def start(self, task, total):
        begun.append([task, total, 0])
        real_start(self, task, total)

    def advance(self, amount=1):
        begun[-1][2] += amount
        real_advance(self, amount)

    monkeypatch.setattr(Terminal, "start", start)
    monkeypatch.setattr(Terminal, "advance", advance)
    return begun


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["dump", "checkpoints/digits-step1000.onnx", "test"], ["digits-step1000.onnx on test"]),
        (["measure"], [f"measuring digits-step{step}.onnx" for step in ("0000", "1000")]),
        (["dknn"], ["digits-step1000.onnx on train", "looking for neighbors"]),
        (
            ["ood", "--out", "letters", "--detectors", "knn,msp,mahalanobis"],
            ["digits-step1000.onnx on letters", "looking for neighbors", "fitting detectors",
             "bootstrap"],
        ),
    ],
)  # fmt: skip
def test_every_long_step_counts_its_units_to_the_end(entangle, project, steps, words, wanted):
    assert entangle(*words, "-q").code == 0
    assert set(wanted) <= {name for name, _, _ in steps}
    assert [(name, done) for name, _, done in steps] == [(name, total) for name, total, _ in steps]
