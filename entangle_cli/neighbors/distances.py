"""Squared Euclidean and cosine distances between two blocks of points.

*Conventions*: ``x`` is ``(a, d)``, ``y`` is ``(b, d)``, the result is ``(a, b)``.

The product form ``|x|^2 + |y|^2 - 2 x.y`` is fast and has an absolute error of about one rounding
of ``|x|^2 + |y|^2``. Where two points are much closer to each other than to the origin that error
is larger than the distance itself; ``refine`` replaces exactly those entries by direct differences.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from entangle_cli.neighbors.products import product

# Below this share of |x|^2 + |y|^2 the product form in float64 has lost more than five of its
# digits
CLOSE = 2.0**-16
# A tile with more close pairs than this is cheaper to compute whole
MANY_CLOSE = 0.1
DIRECT_ELEMENTS = 1 << 17


def squared_norms(x: Tensor) -> Tensor:
    """Squared length of every row of ``(n, d)`` in float64, ``(n,)``."""
    x = x.double()
    return torch.einsum("nd,nd->n", x, x)


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances ``sum_k (x_ik - y_jk)^2`` in float64, ``(a, b)``, all >= 0.

    Relative accuracy is kept for near-duplicates far from the origin.
    """
    x, y = x.double(), y.double()
    x_norms, y_norms = squared_norms(x), squared_norms(y)
    distances = product(x * -2, y, y_norms).add_(x_norms[:, None])
    return refine(distances, x_norms, y_norms, lambda rows, columns: (x[rows], y[columns]))


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine distances ``1 - cos(x_i, y_j)`` in float64, ``(a, b)``, in [0, 2].

    A zero vector has no direction; its similarity to everything is taken as 0, its distance as 1.
    """
    x, y = unit_vectors(x), unit_vectors(y)
    halves = squared_euclidean(x, y).mul_(0.5)
    zero = (~x.any(1))[:, None] | (~y.any(1))[None, :]
    return halves.masked_fill_(zero, 1.0)


def unit_vectors(x: Tensor) -> Tensor:
    """Rows of ``(n, d)`` divided by their length, in float64; zero rows stay zero."""
    x = x.double()
    # the largest entry first: squares of very large or very small entries leave the range of
    # float64
    largest = x.abs().amax(1, keepdim=True)
    x = x / largest.masked_fill_(largest == 0, 1.0)
    return x / x.square().sum(1, keepdim=True).sqrt_().clamp_(min=0.5)


def direct(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances of the pairs ``(x_p, y_p)`` by differences, ``(p, d)`` each to ``(p,)``."""
    return (x - y).square_().sum(1)


def refine(
    distances: Tensor,
    x_norms: Tensor,
    y_norms: Tensor,
    points: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    copies: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Replace, in place, the entries that the product form cannot resolve by direct differences.

    ``points(rows, columns)`` gives the coordinates of the two sides of pairs, ``(p, d)`` each; it
    is asked only for pairs closer than ``2^-16 (|x|^2 + |y|^2)``. ``copies``: numbers ``(a,)`` and
    ``(b,)``, equal where two points are known to be the same; layers can be full of such pairs.
    """
    if float(distances.amin()) >= CLOSE * float(x_norms.amax() + y_norms.amax()):
        return distances
    close = distances < CLOSE * (x_norms[:, None] + y_norms[None, :])
    if copies is not None:
        equal = close & (copies[0][:, None] == copies[1][None, :])
        distances.masked_fill_(equal, 0.0)
        close &= ~equal
    rows, columns = torch.nonzero(close, as_tuple=True)
    if len(rows) > MANY_CLOSE * distances.numel():
        every, none = torch.arange(max(distances.shape), device=distances.device), rows[:0]
        left = points(every[: distances.shape[0]], none)[0]
        right = points(none, every[: distances.shape[1]])[1]
        whole = torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").square_()
        return torch.where(close, whole, distances, out=distances)
    if len(rows):
        distances[rows, columns] = pairwise(rows, columns, points)
    # a pair of zero vectors has norms 0 and a distance of exactly 0, perhaps reached from below
    return distances.clamp_(min=0)


def pairwise(
    rows: Tensor, columns: Tensor, points: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """Direct squared distances of many pairs, a bounded number at a time, ``(p,)``."""
    dimension = points(rows[:1], columns[:1])[0].shape[1]
    step = max(1, DIRECT_ELEMENTS // max(1, dimension))
    parts = [
        direct(*points(rows[p : p + step], columns[p : p + step]))
        for p in range(0, max(1, len(rows)), step)
    ]
    return torch.cat(parts)
