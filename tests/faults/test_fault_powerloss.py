"""The power goes: whatever the disk kept of the last calls, nothing promised is lost."""

import random
from collections import Counter

import pytest
from fault_disk import Disk, Tree, read_tree, write_tree
from fault_harness import Scenario, check_resumes, check_rows

STATES = {"dump_inside": 450, "measure_inside": 200, "again": 200, "resumed": 200}


def check_state(scenario: Scenario, state: Tree, committed: dict[str, int]) -> int:
    """What was promised is there and right, and the run goes on to the same bytes."""
    rows = 0
    with scenario.folder(state) as folder:
        for journal, promised in committed.items():
            name = journal.removeprefix(f"{scenario.home}/")
            path = (folder / name).with_suffix(".h5")
            assert path.exists() or not promised, f"{promised} rows were promised, no {path}"
            if path.exists():
                rows += check_rows(path, promised)
        check_resumes(scenario, folder)
    return rows


def lose_power(scenario: Scenario, states: int, seed: int) -> Counter:
    """Some states after random calls; one in four lost everything that was not synced."""
    chance, done, seen = random.Random(seed), Counter(), set()
    for _ in range(states):
        disk = Disk(scenario.home, scenario.before)
        for call in scenario.calls[: chance.randint(1, len(scenario.calls))]:
            disk.happen(call)
        keep = chance.choice(("none", "random", "random", "random"))
        seen.add(check_state(scenario, disk.surviving(chance, keep), disk.committed))
        done[keep] += 1
    assert len(seen) > 1, "every state held the same rows: nothing was committed on the way"
    return done


@pytest.mark.parametrize("name", ["dump", "measure", "again", "resumed"])
def test_the_replay_of_everything_is_the_real_folder(name, request):
    scenario = request.getfixturevalue(name)
    disk = Disk(scenario.home, scenario.before)
    for call in scenario.calls:
        disk.happen(call)
    assert disk.surviving(None, "all") == scenario.after
    assert len(disk.committed) == (2 if name == "measure" else 1)
    assert set(disk.committed.values()) == {320 if name == "measure" else 1200}


def test_the_replay_loses_what_was_not_synced(dump):
    """A store that does not sync would be caught: without its syncs this one is."""
    disk = Disk(dump.home, dump.before)
    for call in dump.calls:
        if call.op not in "sd":
            disk.happen(call)
    assert disk.surviving(None, "none") == {}
    assert disk.surviving(None, "all") == dump.after
    kinds = Counter()
    for seed in range(200):
        left = disk.surviving(random.Random(seed))
        for name, content in dump.after.items():
            kinds[
                "missing" if name not in left else "same" if left[name] == content else "torn"
            ] += 1
    assert min(kinds["missing"], kinds["same"], kinds["torn"]) > 20


@pytest.mark.parametrize("name", ["dump_inside", "measure_inside"])
def test_a_sample_of_power_losses(name, request):
    done = lose_power(request.getfixturevalue(name), 5, seed=1)
    assert done.total() == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_many_power_losses(name, request, report):
    assert sum(STATES.values()) >= 1000
    done = lose_power(request.getfixturevalue(name), STATES[name], seed=2)
    report("states", dict(done))
    assert done.total() == STATES[name]


def lost_at_the_end(scenario: Scenario) -> set[str]:
    """What a finished run may lose, where nothing but what was synced is kept."""
    disk = Disk(scenario.home, scenario.before)
    for call in scenario.calls:
        disk.happen(call)
    left = disk.surviving(None, "none")
    return {name for name in scenario.after if left.get(name, b"") != scenario.after[name]}


@pytest.mark.parametrize("name", ["dump_inside", "again", "resumed"])
def test_a_finished_dump_is_safe(name, request):
    assert lost_at_the_end(request.getfixturevalue(name)) == set()


@pytest.mark.parametrize("name", ["dump", "measure"])
def test_new_folders_survive_with_what_is_in_them(name, request):
    scenario = request.getfixturevalue(name)
    assert "entangle-out/activations" not in lost_at_the_end(scenario)
    lose_power(scenario, 10, seed=11)


def remembered(name: str) -> bool:
    """Whether a file only spares measuring a layer again; `test_a_sample_of_power_losses` does."""
    return "/measured/" in name


def test_finished_results_are_safe(measure_inside):
    lost = lost_at_the_end(measure_inside)
    assert lost == set(filter(remembered, measure_inside.after))


def test_results_are_never_torn(measure_inside):
    """Whatever is lost, a result file that is there is whole."""
    disk = Disk(measure_inside.home, measure_inside.before)
    results = [n for n in measure_inside.after if not remembered(n)]
    whole = {n: measure_inside.after[n] for n in results if n.endswith((".json", ".csv"))}
    found = Counter()
    for call in measure_inside.calls:
        disk.happen(call)
        for seed in range(4):
            left = disk.surviving(random.Random(seed))
            for name in left.keys() & whole.keys():
                assert left[name] == whole[name], name
                found[name] += 1
    assert found.keys() == whole.keys()


def test_the_model_reads_back_what_it_writes(dump, tmp_path):
    write_tree(dump.after, tmp_path / "copy")
    assert read_tree(tmp_path / "copy") == dump.after
