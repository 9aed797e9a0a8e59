"""Peak private memory of the installed commands, at some samples and at many more.

What counts is ``RssAnon``: pages that the process itself filled, summed over it and its children.
Files that are mapped do not count, the system takes their pages back when it needs them. Each
command runs on some samples and on ten times as many. What grows are a few numbers a row that the
measures keep, and blocks of fixed size that the smaller run does not fill. The aim is a ratio of
at most 1.05.
"""

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from tests.benchmarks.harness import Bench

SIDE, CLASSES = 28, 10
AIM = 1.05
DUMPED, PAIRED = (10_000, 100_000), (6_000, 60_000)
NEAR = "--calib calib --knn exact -k 20"
COMMANDS = {
    "dump": (DUMPED, "dump net.onnx test --layers all"),
    "measure": (PAIRED, "measure net.onnx test --temperature 1"),
    "dknn": (PAIRED, f"dknn net.onnx --test test --train train {NEAR}"),
    "ood": (PAIRED, f"ood net.onnx --in test --out far --train train --resamples 40 {NEAR}"),
}


def _network(path: Path) -> None:
    """Images of 28 x 28 through a layer of 64 to ten scores."""
    chance = np.random.default_rng(0)
    shapes = {"v": (SIDE**2, 64), "u": (64, CLASSES)}
    tensors = [
        numpy_helper.from_array(chance.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
        helper.make_node("Gemm", ["b", "u"], ["y"], "last"),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])]
        for name, shape in (("x", (1, SIDE, SIDE)), ("y", (CLASSES,)))
    ]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def _idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.tobytes())


def _data(folder: Path, rows: int) -> None:
    """Noise around the image of a class, as IDX files; ``far`` is turned around."""
    chance = np.random.default_rng(1)
    centers = chance.integers(0, 200, (CLASSES, SIDE, SIDE), dtype=np.uint8)
    for name in ("train", "calib", "test", "far"):
        count = rows if name != "calib" else 1000
        labels = np.arange(count, dtype=np.uint8) % CLASSES
        images = centers[labels] + chance.integers(0, 55, (count, SIDE, SIDE), dtype=np.uint8)
        (folder / name).mkdir()
        turned = images[:, ::-1] if name == "far" else images
        _idx(folder / name / "t10k-images-idx3-ubyte", np.ascontiguousarray(turned))
        _idx(folder / name / "t10k-labels-idx1-ubyte", labels)


def _family(pid: int) -> list[int]:
    """A process and what it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [one for word in task.read_text().split() for one in _family(int(word))]
    return found


def _private(pid: int) -> int:
    """Private bytes of a process now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def peak(words: Sequence[str], folder: Path) -> tuple[int, float]:
    """The most private memory of a command, looked at every 5 ms, and its seconds."""
    most, begun = 0, time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "entangle_cli", *words, "-q"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            try:
                most = max(most, sum(map(_private, _family(process.pid))))
            except (FileNotFoundError, ProcessLookupError):
                continue
            time.sleep(0.005)
        if process.returncode:
            raise RuntimeError(process.stderr.read())
    return most, time.monotonic() - begun


def run(bench: Bench) -> None:
    """Each command at both sizes."""
    print(f"\nprivate memory; the aim is {AIM} x at ten times the samples")
    for name, (sizes, words) in COMMANDS.items():
        peaks = []
        for rows in sizes:
            with tempfile.TemporaryDirectory() as folder:
                _network(Path(folder, "net.onnx"))
                _data(Path(folder), rows)
                most, seconds = peak(words.split(), Path(folder))
            peaks.append(most)
            print(f"  {name:<8} {rows:>7,} samples {most / 1e6:8.1f} MB {seconds:6.1f} s")
        share = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
        ratio = peaks[1] / peaks[0]
        print(f"  {name:<8} {ratio:.3f} x at ten times as many, {share:.0f} bytes a row")
        found = {"command": name, "sizes": sizes, "peaks": peaks, "ratio": ratio}
        bench.found.append({"title": "memory", **found})
