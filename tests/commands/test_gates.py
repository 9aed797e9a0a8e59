import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entangle_cli import app as command_line
from entangle_cli.errors import GateFailed, UsageError
from entangle_cli.runs.shared.gates import Gate, check_gates, parse_gate

KNOWN = ("auroc", "aupr_in", "fpr95_in", "fpr95_out")
ROWS = [
    {"detector": "knn", "layer": "fc1", "auroc": 0.95, "n": 10},
    {"detector": "mds", "layer": "fc1", "auroc": 0.7, "n": 10},
    {"detector": "mds", "layer": "conv1", "auroc": 0.6, "n": 10},
]


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("auroc<0.9", Gate("auroc", "<", 0.9)),
        ("  auroc  <=  .9 ", Gate("auroc", "<=", 0.9)),
        ("fpr95_in > 5e-2", Gate("fpr95_in", ">", 0.05)),
        ("fpr95_in>=-1.", Gate("fpr95_in", ">=", -1)),
        ("aupr_in\t<\n+1", Gate("aupr_in", "<", 1)),
    ],
)
def test_a_condition_is_a_metric_a_comparison_and_a_number(text, gate):
    assert parse_gate(text, KNOWN) == gate


@given(
    st.sampled_from(KNOWN),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_is_printed_reads_back_as_the_same_gate(metric, comparison, number):
    gate = Gate(metric, comparison, number)
    assert parse_gate(str(gate), KNOWN) == gate


def test_a_gate_prints_as_it_is_typed():
    assert str(parse_gate(" auroc < 0.90 ", KNOWN)) == "auroc<0.9"
    assert str(parse_gate("auroc>=1.0", KNOWN)) == "auroc>=1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auroc",
        "auroc<",
        "<0.9",
        "0.9<auroc",
        "0.9>0.8",
        "auroc=0.9",
        "auroc==0.9",
        "auroc!=0.9",
        "auroc=<0.9",
        "auroc<>0.9",
        "auroc<<0.9",
        "auroc<0.9<1",
        "auroc<90%",
        "auroc<0,9",
        "auroc<nan",
        "auroc<inf",
        "auroc<1e999",
        "auroc<1_0",
        "auroc<٣",
        "auroc<0x1",
        "au roc<0.9",
        "auroc<0.9 and more",
    ],
)
def test_nonsense_is_answered_with_an_example(text):
    with pytest.raises(UsageError, match=r"not a condition; .* --fail-if 'auroc<0.9'") as caught:
        parse_gate(text, KNOWN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given_name", ["aurok", "AUROC", "Auroc"])
def test_an_unknown_metric_is_answered_with_the_known_ones_and_the_nearest(given_name):
    with pytest.raises(UsageError, match=r"\(did you mean 'auroc'\?\); known are auroc, aupr_in"):
        parse_gate(f"{given_name}<0.9", KNOWN)
    with pytest.raises(UsageError, match=r"no metric 'speed'; known are auroc"):
        parse_gate("speed<0.9", KNOWN)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("auroc<0.7", ["conv1"]),
        ("auroc<=0.7", ["fc1", "conv1"]),
        ("auroc>0.7", ["fc1"]),
        ("auroc>=0.7", ["fc1", "fc1"]),
        ("auroc<0.1", []),
    ],
)
def test_rows_fail_where_the_condition_holds(text, layers):
    assert [row["layer"] for row in parse_gate(text, KNOWN).failing(ROWS)] == layers


@pytest.mark.parametrize(
    "value", [np.float64(0.5), np.float32(0.5), 0, np.int64(0), -math.inf], ids=repr
)
def test_numbers_of_every_kind_are_compared(value):
    assert len(parse_gate("auroc<0.9", KNOWN).failing([{"auroc": value}])) == 1


def test_a_narrow_number_is_compared_as_it_is():
    # float32 holds 0.899999976
    assert len(parse_gate("auroc<0.9", KNOWN).failing([{"auroc": np.float32(0.9)}])) == 1


NOTHING = [{"auroc": None}, {"auroc": math.nan}, {"auroc": np.float32("nan")}, {}]
NO_NUMBER = [{"auroc": "0.1"}, {"auroc": True}]


@pytest.mark.parametrize("row", NOTHING + NO_NUMBER, ids=str)
def test_a_row_without_a_number_neither_fails_nor_passes(row):
    gate = parse_gate("auroc<2", KNOWN)
    assert gate.failing([row, ROWS[0]]) == [ROWS[0]]
    assert gate.unchecked([row, ROWS[0]]) == 1
    with pytest.raises(UsageError, match="none of the 1 rows has a number for auroc, so nothing"):
        gate.failing([row])
    notes = check_gates([parse_gate("auroc<0.5", KNOWN)], [row, ROWS[0]])
    assert notes == ["--fail-if auroc<0.5: 1 of 2 rows without auroc, not checked"]


def test_no_rows_are_no_success():
    with pytest.raises(UsageError, match="there are no rows for auroc, so nothing can be checked"):
        check_gates([parse_gate("auroc<0.9", KNOWN)], [])


def test_passed_gates_say_nothing():
    assert check_gates([parse_gate("auroc<0.5", KNOWN), parse_gate("auroc>1", KNOWN)], ROWS) == []
    assert check_gates([], []) == []


def test_a_failure_names_the_gate_the_rows_and_the_worst():
    with pytest.raises(GateFailed) as caught:
        check_gates([parse_gate("auroc<0.9", KNOWN)], [*ROWS, {"auroc": None}])
    assert str(caught.value) == (
        "--fail-if auroc<0.9: 2 of 4 rows fail, 1 could not be checked, "
        "worst auroc 0.6 (mds, conv1)"
    )
    with pytest.raises(GateFailed, match=r"1 of 3 rows fails, worst auroc 0.95 \(knn, fc1\)$"):
        check_gates([parse_gate("auroc>0.9", KNOWN)], ROWS)
    with pytest.raises(GateFailed, match=r"worst auroc -inf$"):
        check_gates([parse_gate("auroc<0", KNOWN)], [{"auroc": -math.inf}])


@pytest.mark.parametrize(
    ("comparison", "worst"), [("<", 0.6), ("<=", 0.6), (">", 0.95), (">=", 0.95)]
)
def test_the_worst_is_the_farthest_beyond_the_limit(comparison, worst):
    gate = Gate("auroc", comparison, 0.8)
    assert gate.worst(ROWS)["auroc"] == worst


def test_every_gate_that_fails_is_named_in_the_one_line():
    gates = [parse_gate(text, KNOWN) for text in ("auroc<0.9", "auroc<0.1", "auroc>0.9")]
    with pytest.raises(GateFailed, match=r"auroc<0\.9: 2 of .*; --fail-if auroc>0\.9: 1 of") as e:
        check_gates(gates, ROWS)
    assert "auroc<0.1" not in str(e.value)
    assert "\n" not in str(e.value)


def test_the_worst_is_not_rounded_into_passing():
    with pytest.raises(GateFailed, match=r"worst auroc 0\.8999999999$"):
        check_gates([parse_gate("auroc<0.9", KNOWN)], [{"auroc": 0.8999999999}])
    with pytest.raises(GateFailed, match=r"worst auroc 0\.123457$"):
        check_gates([parse_gate("auroc<0.9", KNOWN)], [{"auroc": 0.1234567890}])


def test_a_gate_that_checks_nothing_comes_before_one_that_fails():
    gates = [parse_gate("auroc<0.9", KNOWN), parse_gate("fpr95_in>0.5", KNOWN)]
    with pytest.raises(UsageError, match=r"fpr95_in>0\.5"):
        check_gates(gates, ROWS)


def test_a_failed_gate_ends_a_command_with_code_4_and_keeps_its_output(capsys):
    import typer

    def command():
        print(json.dumps(ROWS))
        check_gates([parse_gate("auroc<0.9", KNOWN)], ROWS)

    with pytest.raises(typer.Exit) as stop:
        command_line._answering(command)()
    out, err = capsys.readouterr()
    assert stop.value.exit_code == 4
    assert json.loads(out) == ROWS
    assert err.startswith("error: --fail-if auroc<0.9: 2 of 3 rows fail")
    assert err.count("\n") == 1
