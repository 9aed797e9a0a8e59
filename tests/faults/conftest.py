"""The server, the inputs and the scenarios of the fault tests."""

import pytest

pytest.register_assert_rewrite("fault_disk", "fault_harness")

from fault_disk import read_tree  # noqa: E402 - their assertions shall say what they found
from fault_harness import (  # noqa: E402
    INPUTS,
    KILL_INSIDE,
    Scenario,
    Server,
    build_shim,
    make_inputs,
    memory_folder,
    no_tools,
)

DUMP = ("dump", f"{INPUTS}/net-step1.onnx", f"{INPUTS}/points-1200.npz", "--layers", "all", "-q")
NETS = tuple(f"{INPUTS}/net-step{step}.onnx" for step in (1, 2))
MEASURE = (
    *("measure", *NETS, f"{INPUTS}/points-320.npz"),
    *("--layers", "all", "--temperature", "1", "-q"),
)
FOLDERS = {"entangle-out": None, "entangle-out/activations": None}


@pytest.fixture(scope="session")
def root():
    """Where everything happens, in memory if possible; the inputs lie in it."""
    reason = no_tools()
    if reason:
        pytest.skip(reason)
    with memory_folder() as folder:
        make_inputs(folder / "inputs")
        (folder / "runs").mkdir()
        (folder / "logs").mkdir()
        yield folder


@pytest.fixture(scope="session")
def shim(root):
    return build_shim(root)


@pytest.fixture(scope="session")
def server(root, shim):
    with Server(shim, root / "logs") as running:
        yield running


@pytest.fixture(scope="session")
def dump(server, root):
    """A new dump, with a commit after every line of its journal."""
    return Scenario("dump", (*DUMP, "-b", "32"), server, root)


@pytest.fixture(scope="session")
def measure(server, root):
    """Two checkpoints, dumped and measured."""
    return Scenario("measure", (*MEASURE, "-b", "64"), server, root)


@pytest.fixture(scope="session")
def dump_inside(server, root):
    """A new dump into folders that exist."""
    return Scenario("dump-inside", (*DUMP, "-b", "32"), server, root, FOLDERS)


@pytest.fixture(scope="session")
def measure_inside(server, root):
    """Two checkpoints, dumped and measured into folders that exist."""
    return Scenario("measure-inside", (*MEASURE, "-b", "64"), server, root, FOLDERS)


@pytest.fixture(scope="session")
def again(dump, server, root):
    """A complete dump that is started again; what is left of it is gone on with as it is."""
    plain = (*DUMP, "-b", "32")
    return Scenario("again", (*plain, "--overwrite"), server, root, dump.after, plain)


@pytest.fixture(scope="session")
def resumed(dump, server, root):
    """A dump that was killed in the middle of a row and is gone on with."""
    rows = [call.number for call in dump.calls if call.op == "w" and call.path.endswith(".h5")]
    with dump.folder() as folder:
        ended = dump.run(folder, KILL_INSIDE, rows[len(rows) // 2])
        assert ended.status == -9
        before = read_tree(folder)
    return Scenario("resumed", dump.argv, server, root, before)


@pytest.fixture
def report(request):
    """Say what was done; shown by ``pytest -rP``."""

    def say(name: str, what: object) -> None:
        print(f"{request.node.name}: {name}: {what}")

    return say
