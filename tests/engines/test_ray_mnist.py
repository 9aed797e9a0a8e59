"""A real MNIST run on two nodes of Ray: dump, measure, dknn, ood byte for byte as in one process.

``python -m pytest -m ray tests/engines`` runs it where ``../shared`` is beside the checkout.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.kills import TwoNodes
from tests.engines.workload import CLUSTER, contents, entangle

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'entangle-cli[ray]'"),
    pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="Ray needs /dev/shm"),
]
WORDS = ("--preprocess", "signed", "--reduce", "mean")
COMMANDS = {
    "dump": ("dump", "MODEL", "MNIST@test", *WORDS),
    # so many points that two workers share the layer
    "measure": ("measure", "MODEL", "MNIST@train", "--limit", 20_000, "--layers", "relu", *WORDS),
    "dknn": ("dknn", "MODEL", "--train", "MNIST@train", "--calib", "MNIST@test", "--limit", 5000,
             *WORDS),
    "ood": ("ood", "MODEL", "--in", "MNIST@test", "--out", "FASHION@test", "--train",
            "MNIST@train", "--limit", 5000, *WORDS),
}  # fmt: skip


@pytest.fixture(scope="module")
def nodes(shared):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CLUSTER.items():
            patch.setenv(name, value)
        found = TwoNodes()
        yield found
        found.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_two_nodes_give_the_bytes_of_one_process(shared, nodes, tmp_path, name):
    places = {
        "MODEL": shared / "models" / "onnx" / "mnist-extdata" / "mnist.onnx",
        "MNIST@train": f"{shared / 'data' / 'mnist'}@train",
        "MNIST@test": f"{shared / 'data' / 'mnist'}@test",
        "FASHION@test": f"{shared / 'data' / 'fashion'}@test",
    }
    words = [places.get(word, word) for word in COMMANDS[name]]
    spread = ("--engine", "ray", "--address", nodes.address, "--num-workers", 2)
    here = entangle(*words, "-o", "here", "--json", folder=tmp_path)
    there = entangle(*words, "-o", "there", "--json", *spread, folder=tmp_path, **CLUSTER)
    assert (here.returncode, there.returncode) == (0, 0), there.stderr + here.stderr
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
