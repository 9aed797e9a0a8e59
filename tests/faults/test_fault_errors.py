"""A full or failing disk at every call: one line, exit code 3, nothing lost, resumed equal."""

import shutil
import subprocess
from collections import Counter

import pytest
from fault_disk import read_tree
from fault_harness import (
    FAILING,
    FULL,
    STALE,
    Ended,
    Scenario,
    check_kept,
    check_one_line,
    check_resumes,
    entangle,
    environment,
    spread,
)

FAULTS = {"ENOSPC": FULL, "EIO": FAILING}
# what may stay when the disk refuses to remove it; the next run does not mind
HARMLESS = (STALE, "/scratch")


def fail_everywhere(scenario: Scenario, mode: int, count: int | None = None) -> Counter:
    """Let calls fail from each one on, or each one alone, look, resume, compare."""
    done = Counter()
    for number in spread(scenario.changes, count):
        with scenario.folder() as folder:
            ended = scenario.run(folder, mode, number)
            done[judge_error(scenario, folder, ended)] += 1
            check_kept(scenario, folder, ended.calls)
            check_resumes(scenario, folder)
    return done


def judge_error(scenario: Scenario, folder, ended: Ended) -> str:
    """What kind of end this was; an error that was refused and not said fails."""
    if ended.status == 3:
        assert ended.saw("!")
        check_one_line(ended, "error: ")
        return "said"
    assert (ended.status, ended.err) == (0, ""), ended
    if not ended.saw("!"):
        # every call that needs space came before
        return "nothing to fail"
    left = read_tree(folder)
    extra = [name for name in left if name not in scenario.after]
    assert all(name.endswith(HARMLESS) for name in extra), extra
    assert {name: left.get(name) for name in scenario.after} == scenario.after, "swallowed"
    return "a leftover"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("name", "count"), [("dump", 3), ("measure", 2)])
def test_an_error_at_a_sample_of_calls(name, count, fault, request):
    done = fail_everywhere(request.getfixturevalue(name), FAULTS[fault], count)
    assert done["said"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["dump", "measure", "again", "resumed"])
def test_an_error_at_every_call(name, fault, request, report):
    scenario = request.getfixturevalue(name)
    done = fail_everywhere(scenario, FAULTS[fault])
    report(f"{name} {fault}", str(dict(done)))
    assert done.total() == scenario.changes
    assert done["said"] >= 0.8 * scenario.changes
    assert done["a leftover"] <= 0.1 * scenario.changes


def test_a_full_disk_is_found_before_the_computing_starts(dump):
    (reserving,) = [call.number for call in dump.calls if call.op == "a"]
    with dump.folder() as folder:
        ended = dump.run(folder, FULL, reserving)
        assert ended.status == 3
        check_one_line(ended, "error: entangle-out/activations/net-step1")
        assert "the disk is full: " in ended.err
        assert "needed" in ended.err
        assert not [call for call in ended.calls if call.op == "w" and ".lock" not in call.path]
        assert not [name for name in read_tree(folder) if name.endswith((".h5", ".tmp"))]
        check_resumes(dump, folder)


def mounted(size: str, line: str) -> list[str]:
    """A command that mounts a file system of this size on ``full`` and runs a line there."""
    script = f"mount -t tmpfs -o size={size} none full && cd full && {line}"
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]


@pytest.fixture
def small_disk(root):
    """Runs the installed command on a real file system of some size; stdout lists what is left."""
    folder = root / "runs" / "small"
    (folder / "full").mkdir(parents=True)
    if shutil.which("unshare") is None or subprocess.call(mounted("1m", "true"), cwd=folder):
        shutil.rmtree(folder)
        pytest.skip("no file system can be mounted here (unshare)")

    def run(size: str, words: str) -> subprocess.CompletedProcess:
        line = f'"{entangle()}" {words} >&2; code=$?; find . -type f; exit $code'
        return subprocess.run(
            mounted(size, line), cwd=folder, env=environment(), capture_output=True, text=True
        )

    yield run
    shutil.rmtree(folder)


# 2,048 rows of 1,024 float32 are 8.4 MB
MIDDLE = "../../../inputs/middle.onnx ../../../inputs/points-2048.npz --layers '*relu' -q"


def check_disk_is_full(ended: subprocess.CompletedProcess) -> None:
    assert ended.returncode == 3, ended
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def test_a_disk_that_is_really_too_small(small_disk):
    ended = small_disk("4m", f"dump {MIDDLE}")
    check_disk_is_full(ended)
    assert "the disk is full: 8.4 MB needed, " in ended.stderr
    assert ended.stdout == ""
    ended = small_disk("12m", f"dump {MIDDLE}")
    assert ended.returncode == 0
    assert ended.stdout.count("\n") == 3


def test_a_disk_without_room_for_working_copies(small_disk):
    """The activations fit, the points that measuring keeps beside them do not."""
    check_disk_is_full(small_disk("12m", f"measure {MIDDLE}"))
