"""Ray itself: two nodes on this machine, deaths, dead addresses and what listens where.

``python -m pytest -m ray tests/engines`` runs them; ``python -m tests.engines.kills`` kills more.
"""

import json
import os
import re
import signal
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.kills import TwoNodes, started
from tests.engines.sockets import descendants, sockets
from tests.engines.workload import CLUSTER, contents, entangle, write_images, write_network

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("default"),
    # not imported here: it reads the environment that the cluster sets
    pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'entangle-cli[ray]'"),
    pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="Ray needs /dev/shm"),
]
WORDS = ("--preprocess", "unit", "--reduce", "mean", "-b", "64")
COMMANDS = {
    "dump": ("dump", "net.pt", "data.npz", *WORDS),
    "measure": ("measure", "net.pt", "net2.pt", "data.npz", *WORDS),
    "dknn": ("dknn", "net.pt", "--train", "train.npz", "--calib", "data.npz", "--test", "test.npz",
             "-k", "10", *WORDS),
    "ood": ("ood", "net.pt", "--in", "data.npz", "--out", "test.npz", "--train", "train.npz",
            "-k", "10", *WORDS),
}  # fmt: skip


@pytest.fixture(scope="module")
def nodes():
    kept = dict(os.environ)
    found = TwoNodes()
    yield found
    found.close()
    os.environ.clear()
    os.environ |= kept


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_network(folder / "net.pt", 16)
    write_network(folder / "net2.pt", 16, seed=1)
    for seed, name in enumerate(("data", "train", "test")):
        write_images(folder / f"{name}.npz", 1500, seed)
    return folder


@pytest.fixture
def folder(files, tmp_path) -> Path:
    for found in files.iterdir():
        (tmp_path / found.name).symlink_to(found)
    return tmp_path


def on(nodes: TwoNodes, *more: object) -> tuple[object, ...]:
    return "--engine", "ray", "--address", nodes.address, "--num-workers", 2, *more


@pytest.mark.parametrize("name", COMMANDS)
def test_two_nodes_give_the_bytes_of_one_process(nodes, folder, name):
    here = entangle(*COMMANDS[name], "-o", "here", "--json", folder=folder)
    there = entangle(*COMMANDS[name], "-o", "there", "--json", *on(nodes), folder=folder, **CLUSTER)
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert "2 workers of 1 CPU and 0 GPU, 3 nodes" in there.stderr
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(folder / "there") == contents(folder / "here")


@pytest.fixture(scope="module")
def longer(files) -> dict[str, bytes]:
    """What a job that lasts some seconds makes in one process."""
    write_network(files / "slow.pt", 40)
    write_images(files / "many.npz", 6000)
    assert entangle(*SLOW, "-o", "slow", folder=files).returncode == 0
    return contents(files / "slow")


SLOW = ("dump", "slow.pt", "many.npz", "--preprocess", "unit", "--reduce", "mean")


def wait_for(what, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return found


def parts(folder: Path) -> list[Path]:
    return list((folder / "there" / "activations").glob("*/rows-*.h5"))


@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_death_in_the_middle_changes_nothing(nodes, folder, files, longer, what):
    process = started([*SLOW, "-o", "there", "--json", *on(nodes)], folder)
    wait_for(lambda: parts(folder) and nodes.workers())
    if what == "worker":
        os.kill(nodes.workers()[0], signal.SIGKILL)
    else:
        nodes.replace_node(0)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["command"] == "dump"
    assert err.count("its worker died") == 1
    assert contents(folder / "there") == longer


def test_a_death_in_the_middle_of_a_layer_changes_nothing(nodes, folder):
    write_images(folder / "large.npz", 20_000)
    words = ("measure", "net.pt", "large.npz", *WORDS, "--layers", "4")
    here = entangle(*words, "-o", "here", folder=folder)
    assert here.returncode == 0, here.stderr
    process = started([*words, "-o", "there", *on(nodes)], folder)
    wait_for(lambda: list((folder / "there").glob(".visits-*/*")), 120)
    os.kill(nodes.workers()[0], signal.SIGKILL)
    _out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert re.search(r"layer 4, groups \d+ to \d+: its worker died", err)
    assert contents(folder / "there") == contents(folder / "here")


def test_ranges_of_queries_on_two_nodes_make_up_the_lists(nodes, folder):
    write_network(folder / "thin.pt", 2)
    write_images(folder / "points.npz", 20_000, 3)
    write_images(folder / "queries.npz", 17_000, 4)
    sets = ("--train", "points.npz", "--calib", "data.npz", "--test", "queries.npz")
    words = ("dknn", "thin.pt", *sets, "--preprocess", "unit", "--layers", "4", "-k", "10")
    here = entangle(*words, "-o", "here", folder=folder)
    assert here.returncode == 0, here.stderr
    process = started([*words, "-o", "there", *on(nodes)], folder)
    ranges = folder / "there" / "neighbors" / ".ranges"
    # one of two ranges is found, or nearly
    wait_for(lambda: list(ranges.glob("*")), 120)
    os.kill(nodes.workers()[0], signal.SIGKILL)
    _out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert contents(folder / "there") == contents(folder / "here")


ATTACK = ("attack", "net.pt", "data.npz", "--preprocess", "unit", "--method", "pgd")


@pytest.mark.parametrize("more", [("--epsilon", 0.02, "--epsilon", 0.1), ("--target", 3)])
def test_attacks_on_two_nodes_are_those_of_one_process(nodes, folder, more):
    words = (*ATTACK, "--steps", 4, *more)
    here = entangle(*words, "-o", "out", "--json", folder=folder)
    made = contents(folder / "out")
    (folder / "out").rename(folder / "here")
    there = entangle(*words, "-o", "out", "--json", *on(nodes), folder=folder, **CLUSTER)
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert there.stdout == here.stdout
    assert contents(folder / "out") == made


def test_a_death_in_the_middle_of_an_attack_changes_nothing(nodes, folder):
    words = (*ATTACK, "-b", 64, "--steps", 10, "-o", "out")
    assert entangle(*words, folder=folder).returncode == 0
    made = contents(folder / "out")
    (folder / "out").rename(folder / "here")
    process = started([*words, *on(nodes)], folder)
    wait_for(lambda: list((folder / "out").glob(".attack-*/*")) and nodes.workers())
    os.kill(nodes.workers()[0], signal.SIGKILL)
    _out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert re.search(r"pgd, epsilon 0.1, images \d+ to \d+: its worker died", err)
    assert contents(folder / "out") == made


def test_an_attack_goes_on_when_its_process_was_killed(nodes, folder):
    words = (*ATTACK, "-b", 64, "--steps", 10, "-o", "out")
    process = started([*words, *on(nodes)], folder)
    kept = wait_for(lambda: list((folder / "out").glob(".attack-*/*.part")))
    process.kill()
    process.communicate()
    again = started([*words, *on(nodes)], folder)
    waiting = folder / "out"
    wait_for(lambda: len(list(waiting.glob(".attack-*/*.part"))) > len(kept) + 4)
    ranges = [path.name.partition(".")[0] for path in waiting.glob(".attack-*/*.part")]
    assert [ranges.count(path.name.partition(".")[0]) for path in kept] == [1] * len(kept)
    _out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    made = contents(folder / "out")
    (folder / "out").rename(folder / "there")
    assert entangle(*words, folder=folder).returncode == 0
    assert contents(folder / "out") == made


def test_a_claim_on_a_node_finds_what_one_process_finds(nodes, folder):
    there = started(["reproduce", "figure-1", "-o", "there", *on(nodes)], folder)
    here = entangle("reproduce", "figure-1", "-o", "here", folder=folder, **CLUSTER)
    _out, err = there.communicate(timeout=400)
    assert (here.returncode, there.returncode) == (0, 0), err
    for name in ("rows.csv", "compare.csv"):
        found = (folder / side / "figure-1" / name for side in ("there", "here"))
        assert len({path.read_bytes() for path in found}) == 1


def test_the_same_command_goes_on_when_its_process_was_killed(nodes, folder, files, longer):
    process = started([*SLOW, "-o", "there", *on(nodes)], folder)
    wait_for(lambda: parts(folder))
    process.kill()
    process.communicate()
    again = entangle(*SLOW, "-o", "there", *on(nodes), folder=folder, **CLUSTER)
    assert again.returncode == 0, again.stderr
    assert contents(folder / "there") == longer


def test_what_kills_every_worker_is_given_up(nodes, folder, files, longer):
    process = started([*SLOW, "-o", "there", *on(nodes, "--max-retries", 0)], folder)
    wait_for(lambda: parts(folder) and nodes.workers())
    os.kill(nodes.workers()[0], signal.SIGKILL)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert re.search(r"error: slow.pt on many, samples \d+ to \d+: 1 workers died", err)
    again = entangle(*SLOW, "-o", "there", *on(nodes), folder=folder, **CLUSTER)
    assert again.returncode == 0
    assert contents(folder / "there") == longer


class Counted:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.told = 0

    def advance(self, amount: int = 1) -> None:
        self.told += amount


def test_progress_counts_what_is_done_and_nothing_twice(nodes):
    from entangle_cli.engines.interface import Unit
    from entangle_cli.engines.ray import RayEngine, RayOptions

    progress, notes = Counted(), []
    units = [Unit(str(number), 0.3, size=number) for number in range(16)]
    with RayEngine(RayOptions(nodes.address, workers=2), notes.append) as engine:
        outcomes = []
        for outcome in engine.run(time.sleep, units, progress):
            outcomes.append(outcome)
            assert progress.told >= sum(one.unit.size for one in outcomes)
            if len(outcomes) in (4, 8):
                os.kill(wait_for(nodes.workers)[0], signal.SIGKILL)
    assert [outcome.unit for outcome in outcomes] == units
    assert progress.told == sum(unit.size for unit in units)
    assert len(notes) == sum(outcome.lost for outcome in outcomes)
    assert len(notes) in (1, 2), "an idle worker may be hit"


def test_a_cluster_refuses_who_has_not_its_token(nodes, folder):
    other = CLUSTER | {"RAY_AUTH_TOKEN": "f" * 64}
    found = entangle(*COMMANDS["dump"], *on(nodes), folder=folder, **other)
    assert found.returncode == 2
    assert [line for line in found.stderr.splitlines() if line.startswith("error: --address")]


def test_a_private_cluster_is_seen_by_nobody_else_and_leaves_nothing(folder, files, longer):
    before = set(Path("/tmp").glob("entangle-ray-*"))
    process = started([*SLOW, "-o", "there", "--engine", "ray", "--num-workers", 2], folder)
    wait_for(lambda: parts(folder))
    ours = descendants(process.pid)
    places, peers = sockets("-ltnp", 3, ours), sockets("-tunp", 5, ours)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(places) > 3
    assert len(peers) > 3
    here = re.compile(r"(127\.0\.0\.1|\[::ffff:127\.0\.0\.1\]):\d+")
    assert [place for place in (*places, *peers) if not here.fullmatch(place)] == []
    assert contents(folder / "there") == longer
    assert set(Path("/tmp").glob("entangle-ray-*")) == before


@pytest.mark.parametrize("listens", [False, True])
def test_a_dead_address_fails_in_one_line(folder, listens):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        words = ("--engine", "ray", "--address", address)
        found = entangle(*COMMANDS["dump"], *words, folder=folder)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert f"error: --address {address}: no Ray head answers" in found.stderr


@pytest.mark.parametrize("address", ["auto", "ray://127.0.0.1:1", "nowhere"])
def test_an_address_that_is_none_is_refused(folder, address, tmp_path):
    words = ("--engine", "ray", "--address", address)
    found = entangle(*COMMANDS["dump"], *words, folder=folder, RAY_TMPDIR=str(tmp_path))
    assert found.returncode == 2
    assert found.stderr.startswith("error: --address")
