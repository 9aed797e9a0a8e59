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

from tests.engines.kills import TwoNodes, started, two_nodes
from tests.engines.workload import write_images, write_network


class Watched:
    """The most memory of any worker, in MB, and the processor seconds of all of them."""

    def __init__(self, nodes: TwoNodes) -> None:
        self._nodes, self._stop = nodes, threading.Event()
        self.most = 0
        self._seconds: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values())

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
    words: list[object], folder: Path, nodes: TwoNodes, workers: int
) -> tuple[float, Watched]:
    """How long a command takes with so many workers, and what was seen of them."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    spread = ["--engine", "ray", "--address", nodes.address, "--num-workers", workers]
    began = time.monotonic()
    with Watched(nodes) as watched:
        process = started([*words, "-o", "out", "-q", *spread], folder)
        _, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - began, watched


def ratio(name: str, words: list[object], folder: Path, nodes: TwoNodes, rounds: int) -> None:
    times: dict[int, list[float]] = {1: [], 2: []}
    memory, busy = 0, {1: 0.0, 2: 0.0}
    for _ in range(rounds):
        for workers in (1, 2):
            took, watched = seconds(words, folder, nodes, workers)
            times[workers].append(took)
            memory, busy[workers] = max(memory, watched.most), watched.seconds
    one, two = min(times[1]), min(times[2])
    print(
        f"{name}: 1 worker {one:.1f} s, 2 workers {two:.1f} s, ratio {one / two:.2f} "
        f"(workers' processors {busy[1]:.1f} s and {busy[2]:.1f} s); at most {memory} MB in a "
        f"worker; best of {rounds}, load {os.getloadavg()[0]:.1f}",
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
    parser.add_argument("--only", default="overhead,dump,measure")
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
        write_images(folder / "points.npz", asked.points)
        common = ["--preprocess", "unit"]
        for count in asked.images if "dump" in asked.only else ():
            write_images(folder / "data.npz", count)
            words = ["dump", "net.pt", "data.npz", *common, "--reduce", "mean"]
            ratio(f"dump of {count} images", words, folder, nodes, asked.rounds)
        if "measure" in asked.only:
            layers = [word for layer in (4, 6, 8, 10) for word in ("--layers", layer)]
            words = ["measure", "net.pt", "points.npz", *common, "--reduce", "mean", *layers]
            ratio(f"measuring of {asked.points} points", words, folder, nodes, asked.rounds)


if __name__ == "__main__":
    main()
