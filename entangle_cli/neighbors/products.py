"""The matrix product ``x y^T + bias``, by the faster of the libraries that torch carries.

torch computes products of float32 with MKL, which takes slow kernels on processors that are not
Intel's; oneDNN, in the same package, does not. It has no public entry for rows of plain tensors,
so a private one is used where it exists, and only once it has given right numbers in this process.

*Which one* hangs on the processor and the shapes alone, never on a measured time: the two round
differently, and the same input must give the same bytes in every run. oneDNN is taken for float32
on x86 processors with AVX-512 of other makers than Intel (where it was measured to be 1.1 times,
Zen 4, to 2.5 times, Zen 5, as fast), where the product is large enough to be worth its overhead.
Everything else is ``torch.addmm``.
"""

import platform
from functools import cache

import torch
from torch import Tensor

# Multiplications below which the overhead of a call, or of few columns, outweighs faster kernels
FEWEST_PRODUCTS = 1 << 22
FEWEST_ENTRIES = 32
# Entries of a result that is made in one piece: larger ones come from fresh pages each time, which
# costs more than a copy within the cache
PIECE = 1 << 20


def product(x: Tensor, y: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """The matrix product with a bias per column, ``x y^T + bias``: the seam for faster backends.

    Shapes ``(a, d)``, ``(b, d)``, ``(b,)`` give ``(a, b)``, written into ``out`` where given, which
    is then what is returned. Equal input gives equal bytes, with the same number of threads.
    """
    if _suits(x, y) and onednn_works():
        return _by_onednn(x, y, bias, out)
    return torch.addmm(bias, x, y.t(), out=out) if out is not None else torch.addmm(bias, x, y.t())


def _suits(x: Tensor, y: Tensor) -> bool:
    """Whether oneDNN is expected to be the faster one for these shapes and this type."""
    rows, entries = x.shape
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and entries >= FEWEST_ENTRIES
        and rows * len(y) * entries >= FEWEST_PRODUCTS
        # told to use lower precision the libraries differ in more than rounding
        and torch.get_float32_matmul_precision() == "highest"
        and x.is_contiguous()
        and y.is_contiguous()
    )


def _by_onednn(x: Tensor, y: Tensor, bias: Tensor, out: Tensor | None) -> Tensor:
    rows, columns = len(x), len(y)
    if out is None:
        if rows * columns <= PIECE:
            return _linear(x, y, bias)
        out = x.new_empty(rows, columns)
    step = max(1, PIECE // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        out[part] = _linear(x[part], y, bias)
    return out


def _linear(x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")


@cache
def onednn_works() -> bool:
    """Whether oneDNN is the faster library here, is there, and gives right products."""
    return _prefers_onednn() and _gives_right_products()


def _prefers_onednn() -> bool:
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide and _maker() != "GenuineIntel" and torch.backends.mkldnn.is_available()


def _maker() -> str:
    """Who made the processor: ``GenuineIntel``, ``AuthenticAMD`` or other; empty if not known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("vendor_id"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    # Windows tells it at the end, macOS runs on no such processor
    words = platform.processor().split()
    return words[-1] if words else "GenuineIntel"


def _gives_right_products() -> bool:
    """Compare with float64 on shapes with and without remainders; False where the entry is gone."""
    generator = torch.Generator().manual_seed(0)
    for rows, columns, entries in ((64, 128, 64), (37, 301, 97)):
        x, y = (torch.randn(n, entries, generator=generator) for n in (rows, columns))
        bias = torch.randn(columns, generator=generator)
        expected = torch.addmm(bias.double(), x.double(), y.double().t())
        sizes = torch.addmm(bias.double().abs(), x.double().abs(), y.double().abs().t())
        try:
            found = _linear(x, y, bias)
        except (AttributeError, RuntimeError, TypeError):
            return False
        if found.dtype != torch.float32 or found.shape != expected.shape:
            return False
        # twice the bound for any order of summation, far below the error of shorter formats
        if not bool(((found - expected).abs() <= (entries + 2) * 2.0**-23 * sizes).all()):
            return False
    return True
