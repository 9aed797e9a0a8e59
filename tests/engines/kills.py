"""Kill workers, nodes and drivers at random moments; the bytes must be those without a cluster.

``python -m tests.engines.kills --kills 20`` kills 20 of each kind with SIGKILL and prints a line
per kind. ``--model`` and ``--data`` take a real network and data set instead of the made ones.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.engines.workload import (
    CHECKOUT,
    CLUSTER,
    command,
    contents,
    entangle,
    write_images,
    write_network,
)

STORE = 100_000_000


class TwoNodes:
    """A head without room for workers and two nodes with one each, all on this machine."""

    def __init__(self, workers_per_node: int = 1) -> None:
        os.environ |= CLUSTER
        from ray.cluster_utils import Cluster

        self._per_node = workers_per_node
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        self.cluster = Cluster(
            initialize_head=True, head_node_args=head | {"node_ip_address": "127.0.0.1"}
        )
        self.nodes = [self._add(), self._add()]
        self.cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self.cluster.address

    def _add(self):
        return self.cluster.add_node(
            num_cpus=self._per_node, object_store_memory=STORE, node_ip_address="127.0.0.1"
        )

    def raylets(self) -> list[int]:
        """The processes that are the nodes."""
        return [node.all_processes["raylet"][0].process.pid for node in self.nodes]

    def workers(self) -> list[int]:
        """The processes that have an entangle worker in them."""
        parents, found = set(self.raylets()), []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                name = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in parents and name.startswith(b"ray::Worker"):
                    found.append(int(entry.name))
        return found

    def replace_node(self, number: int) -> None:
        """Kill a node as a power cut would, and let a new one join."""
        os.kill(self.raylets()[number], signal.SIGKILL)
        with contextlib.suppress(Exception):
            self.cluster.remove_node(self.nodes[number], allow_graceful=False)
        self.nodes[number] = self._add()

    def close(self) -> None:
        self.cluster.shutdown()


@contextlib.contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    try:
        yield nodes
    finally:
        nodes.close()


def started(words: list[object], folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=os.environ | CLUSTER | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Trials:
    """Runs of one command under fire, each compared with the bytes of a quiet run."""

    def __init__(self, folder: Path, words: list[object], nodes: TwoNodes, seed: int) -> None:
        self.folder, self.words, self.nodes = folder, words, nodes
        self.random = random.Random(seed)
        self.kills = self.runs = self.retried = 0
        quiet = entangle(*words, "-o", "quiet", "-q", folder=folder)
        assert quiet.returncode == 0, quiet.stderr
        self.expected = contents(folder / "quiet")

    def spread(self, *more: object) -> list[object]:
        return [
            *self.words, "-o", "spread", "--engine", "ray", "--address", self.nodes.address,
            "--num-workers", 2, *more,
        ]  # fmt: skip

    def under_fire(self, kills: int, fire) -> None:
        """Runs with ``fire()`` every now and then, until there were ``kills`` that hit."""
        while self.kills < kills:
            process = started(self.spread("--max-retries", 1000), self.folder)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.random.uniform(3, 6))
            while process.poll() is None and self.kills < kills:
                self.kills += fire()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.random.uniform(0.5, 4))
            self._check(process)

    def drivers(self, kills: int) -> None:
        """The command itself is killed, and given again until it ends."""
        while self.kills < kills:
            process = started(self.spread(), self.folder)
            try:
                process.wait(self.random.uniform(4, 12))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.kills += 1
            else:
                self._check(process)
        self._check(started(self.spread(), self.folder))

    def _check(self, process: subprocess.Popen) -> None:
        _out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"exit {process.returncode}: {err}"
        self.retried += err.count("its worker died")
        self.runs += 1
        found = contents(self.folder / "spread")
        different = [name for name in self.expected if found.get(name) != self.expected[name]]
        assert found.keys() == self.expected.keys(), sorted(found.keys() ^ self.expected.keys())
        assert not different, different
        shutil.rmtree(self.folder / "spread")

    def kill_worker(self) -> int:
        workers = self.nodes.workers()
        if workers:
            os.kill(self.random.choice(workers), signal.SIGKILL)
        return len(workers) > 0

    def kill_node(self) -> int:
        self.nodes.replace_node(self.random.randrange(2))
        return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", default="worker,node,driver")
    parser.add_argument("--command", default="dump")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--layers", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for kind in asked.kinds.split(","):
        with tempfile.TemporaryDirectory() as name, two_nodes() as nodes:
            folder = Path(name)
            if asked.model is None:
                write_network(folder / "net.pt", 40)
                write_images(folder / "data.npz", asked.images)
            model = Path(asked.model).resolve() if asked.model else "net.pt"
            data = Path(asked.data).resolve() if asked.data else "data.npz"
            words = [asked.command, model, data, "--preprocess", "unit", "--reduce", "mean"]
            words += [word for layer in asked.layers for word in ("--layers", layer)]
            trials = Trials(folder, words, nodes, asked.seed)
            began = time.monotonic()
            if kind == "driver":
                trials.drivers(asked.kills)
            else:
                fire = trials.kill_worker if kind == "worker" else trials.kill_node
                trials.under_fire(asked.kills, fire)
            print(
                f"{kind}: {trials.kills} killed in {trials.runs} finished runs, {trials.retried} "
                f"units retried, bytes equal each time, {time.monotonic() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
