"""What reading the default layers costs beside running the same file without reading any.

A session of onnxruntime, and a TorchScript module under ``inference_mode``, as anybody would run
them. The store is left out: the sink throws everything away.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from entangle_cli.models import Model
from entangle_cli.models.opening import open_model
from tests.benchmarks.harness import Bench
from tests.benchmarks.whole import LeNet

BATCHES = (64, 256)
WIDTH = 32
ENTRIES = 4
# one timing of a small network is lost in the clock and in the noise
_AT_LEAST = 0.1


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)
        self.shortcut = nn.Identity()
        if inner != outer:
            narrow = nn.Conv2d(inner, outer, 1, stride, bias=False)
            self.shortcut = nn.Sequential(narrow, nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, inner, h, w)`` to ``(n, outer, h / stride, w / stride)``."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18 for small images, half as wide."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inner = [], width
        for stage in range(4):
            for repeat in range(2):
                outer = width << stage
                blocks.append(Block(inner, outer, 2 if stage and not repeat else 1))
                inner = outer
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(inner, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores ``(n, 10)`` of images ``(n, 3, 32, 32)``."""
        x = self.blocks(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


def save(net: nn.Module, example: torch.Tensor, folder: Path) -> tuple[Path, Path]:
    """The network as an ONNX file and as a traced one."""
    onnx, traced = folder / "net.onnx", folder / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            onnx,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )
        torch.jit.trace(net, example).save(traced)
    return onnx, traced


def plain_onnx(path: Path, x: np.ndarray, threads: int) -> Callable[[], object]:
    """One run of a session that returns the scores only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def plain_torchscript(path: Path, x: np.ndarray) -> Callable[[], object]:
    """One forward of the loaded module."""
    module = torch.jit.load(path).eval()
    tensor = torch.from_numpy(x)

    def run() -> object:
        with torch.inference_mode():
            return module(tensor)

    return run


def tapping(model: Model, x: np.ndarray) -> tuple[Callable[[], object], int, int]:
    """One run that hands out every default layer, how many these are, and their bytes."""
    names = [layer.name for layer in model.layers([x[:2]]) if layer.default]
    sizes: dict[str, int] = {}
    model.run([x], names, lambda name, values: sizes.update({name: values.nbytes}))
    return lambda: model.run([x], names, lambda name, values: None), len(sizes), sum(sizes.values())


def _often(run: Callable[[], object], bench: Bench) -> tuple[Callable[[], object], int]:
    """``run`` as many times as make a measurable span."""
    run()
    times = max(1, int(_AT_LEAST / max(bench.seconds(run), 1e-6)))

    def repeated() -> None:
        for _ in range(times):
            run()

    return repeated, times


def run(bench: Bench) -> None:
    """Both networks, both formats, both batch sizes."""
    torch.set_num_threads(bench.threads)
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    for net, shape in ((LeNet(), (1, 28, 28)), (ResNet(), (3, 32, 32))):
        with tempfile.TemporaryDirectory() as folder:
            files = save(net.eval(), torch.randn(2, *shape), Path(folder))
            for batch in BATCHES:
                x = generator.normal(size=(batch, *shape)).astype(np.float32)
                for path in files:
                    _compare(bench, f"{type(net).__name__}, batch {batch}", path, x)


def _compare(bench: Bench, title: str, path: Path, x: np.ndarray) -> None:
    model = open_model(path)
    if model.format == "onnx":
        plain = plain_onnx(path, x, bench.threads)
    else:
        plain = plain_torchscript(path, x)
    tapped, layers, size = tapping(model, x)
    _, times = _often(plain, bench)
    rivals = {}
    for name, once in (("default layers", tapped), ("plain inference", plain)):

        def repeated(once: Callable[[], object] = once) -> None:
            for _ in range(times):
                once()

        rivals[name] = repeated
    notes = f"{layers} layers, {size / 1e6:.1f} MB a batch; {times} runs a turn"
    title = f"{title}, {model.format}"
    bench.compare(title, rivals, notes=notes, rounds=max(9, bench.rounds))
    turns = bench.found[-1]["all"]
    ratios = np.divide(turns["default layers"], turns["plain inference"])
    bench.found[-1]["ratio"] = float(np.median(ratios))
    print(f"  extraction costs {np.median(ratios):.2f} x plain inference")
