"""Killed before, in and after every call that changes a file: nothing committed is lost."""

import time
from collections import Counter

import pytest
from fault_harness import (
    COUNT,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_INSIDE,
    Scenario,
    check_kept,
    check_resumes,
    spread,
)

SCENARIOS = ("dump", "measure", "again", "resumed")
DONE: dict[str, int] = {}
WAYS = {"before": KILL_BEFORE, "in": KILL_INSIDE, "after": KILL_AFTER}


def kill_everywhere(scenario: Scenario, count: int | None = None) -> Counter:
    """Kill at every call (or about ``count`` of them), look, resume, compare."""
    done, rows, divisible = Counter(), set(), scenario.divisible()
    chosen = spread(scenario.changes, count)
    if not divisible & set(chosen):
        # a sample without a call that has a middle
        chosen.append(min(divisible))
    for number in chosen:
        for way, mode in WAYS.items():
            if mode == KILL_INSIDE and number not in divisible:
                continue
            with scenario.folder() as folder:
                ended = scenario.run(folder, mode, number)
                if ended.status == 0 and ended.changes < number:
                    # this time the threads needed fewer calls
                    done["not reached"] += 1
                    continue
                assert ended.status == -9, f"{way} call {number}: {ended}"
                rows.add(check_kept(scenario, folder, ended.calls))
                check_resumes(scenario, folder)
            # without a middle the kill came before
            done[way if mode != KILL_INSIDE or ended.saw("/") else "before"] += 1
    assert len(rows) > 1, "every kill found the same rows: nothing was committed on the way"
    return done


@pytest.mark.parametrize(("name", "count"), [("dump", 5), ("measure", 3), ("resumed", 3)])
def test_a_kill_at_a_sample_of_calls(name, count, request):
    scenario = request.getfixturevalue(name)
    done = kill_everywhere(scenario, count)
    assert min(done["before"], done["after"]) >= count - 1
    assert done["in"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_every_call(name, request, report):
    scenario, begun = request.getfixturevalue(name), time.monotonic()
    done = kill_everywhere(scenario)
    report("points", f"{dict(done)} in {time.monotonic() - begun:.0f} s")
    assert min(done["before"], done["after"]) >= 0.95 * scenario.changes
    DONE[name] = done.total() - done["not reached"]


@pytest.mark.slow
def test_there_were_fifteen_hundred_points(report):
    if DONE.keys() != set(SCENARIOS):
        pytest.skip("not every scenario was run to its end")
    report("points", dict(DONE))
    assert sum(DONE.values()) >= 1500


def test_every_call_that_changes_a_file_is_seen(dump):
    kinds = {call.op for call in dump.calls}
    assert kinds >= set("mcwasdru"), kinds
    assert "?" not in kinds
    with dump.folder() as folder:
        ended = dump.run(folder, COUNT, 0)
        assert ended.status == 0
        assert abs(ended.changes - dump.changes) <= 8
