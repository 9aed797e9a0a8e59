"""What a cluster costs and gains here: ``python -m tests.engines.speed [--images N]``.

Prints the start-up, the overhead of a unit, the seconds of one and of two workers with one thread
each for a dump and for a measurement, and the most memory that a worker took.
"""

import argparse
import contextlib
import operator
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from tests.engines.kills import TwoNodes, started, two_nodes
from tests.engines.workload import entangle, write_images, write_network


class Watched:
    """The most memory of any worker, in MB, and the processor seconds of all of them."""

    def __init__(self, nodes: TwoNodes) -> None:
        self._nodes, self._stop = nodes, threading.Event()
        self.most = 0
        self._seconds: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values())

    @property
    def longest(self) -> float:
        """Of the worker that worked most: what it takes where processors are free."""
        return max(self._seconds.values(), default=0.0)

    def __enter__(self) -> "Watched":
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            for pid in self._nodes.workers():
                with contextlib.suppress(OSError, IndexError):
                    # RssAnon: maps of files can be dropped at any time
                    status = (Path("/proc") / str(pid) / "status").read_text()
                    kilobytes = int(status.partition("RssAnon:")[2].split()[0])
                    self.most = max(self.most, kilobytes // 1000)
                    times = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2]
                    ticks = sum(map(int, times.split()[11:13]))
                    self._seconds[pid] = ticks / os.sysconf("SC_CLK_TCK")


def seconds(
    words: list[object], folder: Path, nodes: TwoNodes, workers: int, kept: str
) -> tuple[float, Watched]:
    """How long a command takes with so many workers, and what was seen of them.

    Of an earlier run only the folder ``kept`` of its output is left.
    """
    for found in (folder / "out").glob("*"):
        if found.name != kept:
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    spread = ["--engine", "ray", "--address", nodes.address, "--num-workers", workers]
    began = time.monotonic()
    with Watched(nodes) as watched:
        process = started([*words, "-o", "out", "-q", *spread], folder)
        _, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - began, watched


def ratio(
    name: str,
    words: list[object],
    folder: Path,
    nodes: TwoNodes,
    rounds: int,
    *,
    kept: str = "",
) -> None:
    times: dict[int, list[float]] = {1: [], 2: []}
    memory, busy, longest = 0, {1: 0.0, 2: 0.0}, {1: 0.0, 2: 0.0}
    for _ in range(rounds):
        for workers in (1, 2):
            took, watched = seconds(words, folder, nodes, workers, kept)
            times[workers].append(took)
            memory, busy[workers] = max(memory, watched.most), watched.seconds
            longest[workers] = watched.longest
    # a round's two runs follow each other, so that they share what else the machine does
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    print(
        f"{name}: 1 worker {median(times[1]):.1f} s, 2 workers {median(times[2]):.1f} s, ratio "
        f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; workers' processors "
        f"{busy[1]:.1f} s and {busy[2]:.1f} s, the busiest {longest[2]:.1f} s); at most {memory} "
        f"MB in a worker; medians of {rounds}, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def overhead() -> None:
    """Start-up of a private cluster and the cost of a unit that does nothing."""
    from entangle_cli.engines.interface import Unit
    from entangle_cli.engines.ray import RayEngine, RayOptions
    from entangle_cli.progress import silent

    units = [Unit(str(number), number) for number in range(1000)]
    began = time.monotonic()
    with RayEngine(RayOptions(workers=2)) as engine:
        list(engine.run(operator.neg, units[:1], silent))
        ready = time.monotonic()
        list(engine.run(operator.neg, units, silent))
        done = time.monotonic()
    print(
        f"private cluster of 2 workers ready after {ready - began:.1f} s, then "
        f"{(done - ready):.2f} ms a unit, gone after {time.monotonic() - done:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000])
    parser.add_argument("--points", type=int, default=12_000)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--layer-points", type=int, default=40_000)
    parser.add_argument("--only", default="overhead,dump,measure,layer,neighbors")
    asked = parser.parse_args()
    if "overhead" in asked.only:
        # in a process of its own: Ray reads the environment once
        process = os.fork()
        if process == 0:
            overhead()
            os._exit(0)
        os.waitpid(process, 0)
    with tempfile.TemporaryDirectory() as name, two_nodes() as nodes:
        folder = Path(name)
        write_network(folder / "net.pt", asked.width)
        parts = {
            "dump": dumps,
            "measure": measures,
            "layer": one_layer,
            "neighbors": neighbor_lists,
        }
        for part, measured in parts.items():
            if part in asked.only.split(","):
                measured(asked, folder, nodes)


COMMON = ["--preprocess", "unit", "--reduce", "mean"]


def dumps(asked: argparse.Namespace, folder: Path, nodes: TwoNodes) -> None:
    """Dumps of growing size: also, whether memory grows."""
    for count in asked.images:
        write_images(folder / "data.npz", count)
        words = ["dump", "net.pt", "data.npz", *COMMON]
        ratio(f"dump of {count} images", words, folder, nodes, asked.rounds)


def measures(asked: argparse.Namespace, folder: Path, nodes: TwoNodes) -> None:
    """Four layers, each by one worker."""
    write_images(folder / "points.npz", asked.points)
    layers = [word for layer in (4, 6, 8, 10) for word in ("--layers", layer)]
    words = ["measure", "net.pt", "points.npz", *COMMON, *layers]
    ratio(f"measuring 4 layers of {asked.points} points", words, folder, nodes, asked.rounds)


def one_layer(asked: argparse.Namespace, folder: Path, nodes: TwoNodes) -> None:
    """One stored layer, by all workers together."""
    write_images(folder / "many.npz", asked.layer_points)
    dump = ["dump", "net.pt", "many.npz", *COMMON, "--layers", 4, "-o", "one", "-q"]
    made = entangle(*dump, folder=folder)
    assert made.returncode == 0, made.stderr
    (stored,) = (folder / "one" / "activations").glob("*.h5")
    name = f"measuring one layer of {asked.layer_points} points"
    ratio(name, ["measure", stored], folder, nodes, asked.rounds)


def neighbor_lists(asked: argparse.Namespace, folder: Path, nodes: TwoNodes) -> None:
    """One layer, searched in ranges of queries."""
    for number, part in enumerate(("train", "calib", "test")):
        write_images(folder / f"{part}.npz", 1000 if number == 1 else asked.layer_points, number)
    sets = [word for part in ("train", "calib", "test") for word in (f"--{part}", f"{part}.npz")]
    words = ["dknn", "net.pt", *sets, *COMMON, "--layers", 4]
    made = entangle(*words, "-o", "out", "-q", folder=folder)
    assert made.returncode == 0, made.stderr
    name = f"neighbors of {asked.layer_points} queries among as many in one layer"
    ratio(name, words, folder, nodes, asked.rounds, kept="activations")


if __name__ == "__main__":
    main()
