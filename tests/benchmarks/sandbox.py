"""What the sandbox and the checks before a dump cost, on a LeNet.

Seconds of the wall: the sandbox is another process. The starts are those of whole processes, so
that the imports of the child count, which the process outside has done already.
"""

import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch

from entangle_cli.activations import trial
from entangle_cli.activations.dump import dump
from entangle_cli.activations.duplicates import Duplicates
from entangle_cli.activations.feed import Feed
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.models.opening import open_model
from entangle_cli.models.sandbox.confinement import Limits
from tests.benchmarks.harness import Bench
from tests.benchmarks.whole import LeNet

ROWS = 1000


def run(bench: Bench) -> None:
    """Compare opening and dumping, and time the checks."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in _saved(Path(folder)):
            print(f"\n{path.name}: LeNet, {ROWS} samples, {bench.rounds} rounds")
            opened = {"outside": None, "in a sandbox": Limits()}
            seconds: dict[str, list[float]] = {}
            for turn in range(bench.rounds + 1):
                for name, limits in opened.items():
                    for what, taken in _once(path, limits, Path(folder) / f"{turn}.h5"):
                        if turn:
                            seconds.setdefault(f"{what} {name}", []).append(taken)
            for name, taken in seconds.items():
                print(f"  {name:<28} {median(taken):8.4f} s")
            bench.found.append({"title": f"sandbox {path.name}", "all": seconds})


def _saved(folder: Path) -> list[Path]:
    network, example = LeNet().eval(), torch.rand(2, 1, 28, 28)
    torch.jit.trace(network, example).save(folder / "net.pt")
    torch.onnx.export(
        network, (example,), folder / "net.onnx", dynamo=False,
        input_names=["x"], dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip
    return [folder / "net.onnx", folder / "net.pt"]


def _once(path: Path, limits: Limits | None, store: Path) -> list[tuple[str, float]]:
    """Seconds of opening, of a dump, and in it of the checks and of counting duplicates."""
    start = time.perf_counter()
    model = open_model(path, sandbox=limits)
    opening = time.perf_counter() - start
    feed = Feed(model.inputs, _data(), None)
    names = [layer.name for layer in model.layers(feed.batch(0, 3)) if layer.default]
    spent = {"checks": 0.0, "duplicates": 0.0}
    checks, see = trial.run_notes, Duplicates.see

    def timed(call, key):
        def run(*arguments):
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                spent[key] += time.perf_counter() - start

        return run

    trial.run_notes, Duplicates.see = timed(checks, "checks"), timed(see, "duplicates")
    try:
        start = time.perf_counter()
        dump(model, feed, store, layers=names, overwrite=True)
        dumping = time.perf_counter() - start
    finally:
        trial.run_notes, Duplicates.see = checks, see
    return [("open", opening), ("dump", dumping), *spent.items()]


def _data() -> Dataset:
    pixels = np.random.default_rng(0).random((ROWS, 1, 28, 28), dtype=np.float32)
    return Dataset(
        name="noise",
        reference="noise",
        kind="arrays",
        read=lambda rows: {"x": pixels[rows]},
        labels=np.arange(ROWS) % 10,
        class_names=None,
        ids=[str(row) for row in range(ROWS)],
        fingerprint="0" * 64,
    )
