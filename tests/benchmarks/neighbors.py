"""Exact neighbors, k = 75 of 60,000 points: the index, codes on and off, beside its peers.

Times are of building and asking. faiss runs in processes of its own, once for each setting of
``OPENBLAS_CORETYPE``, taking turns with ours: the variable counts when the library is loaded.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from entangle_cli import dump, open_dataset, open_model
from entangle_cli.activations.feed import Feed
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.neighbors import certified
from entangle_cli.neighbors.exact import ExactIndex
from tests.benchmarks.ceilings import product_rate
from tests.benchmarks.harness import Bench

K, COUNT = 75, 60_000
# More queries where they are cheap, so that every comparison takes about as long
SYNTHETIC = {64: 10_000, 512: 4_000, 2048: 2_000}
REAL_QUERIES = 2_000
NETWORK = "models/onnx/mnist-cntk-op8.onnx"
CORES = (None, "Haswell", "SKYLAKEX")
FAISS = """
import os, sys, time
import faiss, numpy as np
points, queries = (np.load(path) for path in sys.argv[1:3])
threads = int(sys.argv[3])
faiss.omp_set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter
print("ready", flush=True)
for line in sys.stdin:
    start = clock()
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    squares = index.search(queries, int(line))[0]
    seconds = clock() - start
    np.save(sys.argv[4], squares)
    print(seconds, flush=True)
"""


class Faiss:
    """A process with faiss that answers as often as asked, and how long that took."""

    def __init__(self, folder: Path, core: str | None, threads: int) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        if core:
            environment["OPENBLAS_CORETYPE"] = core
        self._squares = folder / f"squares-{core}.npy"
        paths = (folder / "points.npy", folder / "queries.npy")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FAISS, *map(str, paths), str(threads), str(self._squares)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._process.stdout.readline()

    def search(self) -> float:
        """Seconds of one search, as the process measured them."""
        self._process.stdin.write(f"{K}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> np.ndarray:
        """End the process; distances ``(q, k)`` of its last search."""
        self._process.stdin.close()
        self._process.wait()
        return np.sqrt(np.maximum(np.load(self._squares), 0))


def mixture(dimension: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and queries around the same ten centers, float32."""
    generator = np.random.default_rng(0)
    centers = 0.35 * generator.normal(size=(10, dimension))

    def some(count: int) -> np.ndarray:
        points = generator.normal(size=(count, dimension))
        return (points + centers[generator.integers(0, 10, count)]).astype(np.float32)

    return some(COUNT), some(queries)


def real_layers(shared: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MNIST's pixels and the layers of a trained network: 60,000 training points, some of test."""
    model, found = open_model(shared / NETWORK), {}
    names = [layer.name for layer in model.layers() if layer.default or layer.name.endswith("relu")]
    with tempfile.TemporaryDirectory() as folder:
        for part in (f"train[0:{COUNT}]", f"test[0:{REAL_QUERIES}]"):
            dataset = open_dataset(f"{shared / 'data' / 'mnist'}@{part}")
            feed = Feed(model.inputs, dataset, Preprocessing(scale=1.0))
            pixels = np.stack(dataset.images(np.arange(len(dataset)))).reshape(len(dataset), -1)
            found.setdefault("pixels", []).append((pixels / 255).astype(np.float32))
            file = dump(model, feed, Path(folder) / f"{part[:4]}.h5", layers=names)
            for name in names:
                found.setdefault(name, []).append(np.array(file.points(name)))
    return {name: (points, queries) for name, (points, queries) in found.items()}


def ours(points: np.ndarray, queries: np.ndarray, *, codes: bool = True) -> np.ndarray:
    """Distances ``(q, k)`` by the exact index, with codes where the pilot wants them or without."""
    fewest = certified.FEWEST_POINTS if codes else sys.maxsize
    with mock.patch.object(certified, "FEWEST_POINTS", fewest):
        return ExactIndex(points, metric="euclidean").query(queries, k=K).distances


def chunked_torch(points: np.ndarray, queries: np.ndarray) -> None:
    """A product and ``topk`` for some queries at a time."""
    y = torch.from_numpy(points)
    norms = (y * y).sum(1)
    for x in torch.from_numpy(queries).split(256):
        torch.addmm(norms, x, y.t(), alpha=-2).topk(K, largest=False)


def scikit(points: np.ndarray, queries: np.ndarray) -> None:
    """Brute force of scikit-learn."""
    from sklearn.neighbors import NearestNeighbors

    NearestNeighbors(n_neighbors=K, algorithm="brute").fit(points).kneighbors(queries)


def graph(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """PyNNDescent, ready to be compared only after its first run has compiled it."""
    import pynndescent

    index = pynndescent.NNDescent(points, n_neighbors=30, random_state=0)
    return index.query(queries, k=K, epsilon=0.2)[1]


def _faiss_rivals(
    bench: Bench, folder: Path, points: np.ndarray, queries: np.ndarray
) -> dict[str, Faiss]:
    if importlib.util.find_spec("faiss") is None:
        print("  faiss is not installed")
        return {}
    np.save(folder / "points.npy", points)
    np.save(folder / "queries.npy", queries)
    return {f"faiss, {core or 'unset'}": Faiss(folder, core, bench.threads) for core in CORES}


def compare(bench: Bench, title: str, points: np.ndarray, queries: np.ndarray) -> None:
    """Ours and all others take turns; faiss tells its own seconds."""
    slow: dict[str, Callable[[], object]] = {
        "torch, product and topk": lambda: chunked_torch(points, queries),
        "scikit-learn, brute force": lambda: scikit(points, queries),
    }
    rivals: dict[str, Callable[[], float]] = {
        "ours": lambda: bench.seconds(lambda: ours(points, queries)),
        "ours, all pairs": lambda: bench.seconds(lambda: ours(points, queries, codes=False)),
    }
    with tempfile.TemporaryDirectory() as name:
        peers = _faiss_rivals(bench, Path(name), points, queries)
        rivals.update({label: peer.search for label, peer in peers.items()})
        times: dict[str, list[float]] = {label: [] for label in rivals}
        for turn in range(bench.rounds + 1):
            for label, run in rivals.items():
                taken = run()
                if turn:
                    times[label].append(taken)
        answers = {label: peer.close() for label, peer in peers.items()}
    for label, work in slow.items():
        times[label] = [bench.seconds(work)]
    _tell(bench, title, times, points.shape, len(queries))
    _check(points, queries, answers)


def _tell(
    bench: Bench, title: str, times: dict[str, list[float]], shape: tuple[int, int], queries: int
) -> None:
    limit = 2 * queries * shape[0] * shape[1] / product_rate(bench, shape[1])
    mine = np.array(times["ours"])
    print(f"\n{title}, d = {shape[1]}, {queries} queries  ({bench.threads} threads)")
    print(f"  {'limit of a float32 product':<34} {limit:9.3f} s")
    for label, seconds in times.items():
        # of one turn, as turns meet a machine that is busy in different ways
        ratio = np.median(np.array(seconds) / mine[: len(seconds)])
        print(f"  {label:<34} {np.median(seconds):9.3f} s   {ratio:6.2f} x ours")
    bench.found.append(
        {"title": title, "threads": bench.threads, "all": times, "limits": {"product": limit}}
    )


def _check(points: np.ndarray, queries: np.ndarray, answers: dict[str, np.ndarray]) -> None:
    with_codes, without = ours(points, queries), ours(points, queries, codes=False)
    print(f"  codes on and off: identical {with_codes.tobytes() == without.tobytes()}")
    for label, found in answers.items():
        worst = float((np.abs(found - with_codes) / with_codes[:, -1:].clip(1e-30)).max())
        print(f"  {label}: distances differ by at most {worst:.0e} of the k-th")


def _approximate(bench: Bench, points: np.ndarray, queries: np.ndarray) -> None:
    graph(points[:2000], queries[:100])
    taken: list[np.ndarray] = []
    seconds = bench.seconds(lambda: taken.append(graph(points, queries)))
    exact = ours(points, queries)
    recall = float((taken[0] <= exact[:, -1:] * (1 + 1e-5)).mean())
    print(f"  PyNNDescent, compiled before: {seconds:.2f} s, recall {recall:.4f}")
    bench.found.append({"title": "PyNNDescent", "seconds": seconds, "recall": recall})


def run(bench: Bench) -> None:
    """Synthetic points, and pixels and layers where they are."""
    start = time.perf_counter()
    for dimension, queries in SYNTHETIC.items():
        points, asked = mixture(dimension, queries)
        compare(bench, "mixture", points, asked)
        if dimension == min(SYNTHETIC):
            _approximate(bench, points, asked)
    if bench.shared is not None:
        for name, (points, asked) in real_layers(bench.shared).items():
            compare(bench, name, points, asked)
    print(f"\nneighbors took {time.perf_counter() - start:.0f} s")
