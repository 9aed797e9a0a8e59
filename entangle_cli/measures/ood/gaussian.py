"""Mahalanobis distances to Gaussians of one layer: outliers are far from every class.

*Conventions*: rows x are the layer's channels ``(n, d)`` (feature maps averaged over space), mu_c
the mean of the training points labeled c. N counts the training points that have a label; points
labeled -1 are left out everywhere. Every covariance is divided by N, not by N minus something.

    S            = 1/N sum over points of (x - mu_label)(x - mu_label)^T        one for all classes
    d_c(x)       = (x - mu_c)^T S^+ (x - mu_c)
    mahalanobis  = min over c of d_c(x)
    S_0          = 1/N sum (x - mu_0)(x - mu_0)^T, mu_0 the mean of all of them, d_0 likewise
    rmds         = min over c of (d_c(x) - d_0(x)), of either sign

Both are outlier scores, higher = more out of distribution. ``S^+`` is the pseudo-inverse on the
eigenvectors whose eigenvalue is above 1e-10 times the largest one: dead units, copied units and,
with fewer points than entries, all directions without variance are ignored, *however far* an input
lies out in them. ``dropped`` counts these directions. Float32 rounding alone gives dependent
directions a relative variance of about 1e-14. A class may have a single point.

References: arXiv 1807.03888 (Lee et al. 2018), eq. 1 and 2, without its input perturbation;
arXiv 2106.09022 (Ren et al. 2021).
"""

from dataclasses import dataclass

import numpy as np
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known, blocks
from entangle_cli.measures.ood.layered import (
    exact_rows,
    layer_rows,
    one_layer,
    row_blocks,
    training_labels,
)
from entangle_cli.neighbors.distances import squared_euclidean

MOST_ENTRIES = 4096
# Directions whose variance is below this share of the largest are taken to have none
TOLERANCE = 1e-10
# Within classes: a variance below this share of the whole variance is rounding of the means
ROUNDING = 1e-20


@dataclass(frozen=True)
class Mahalanobis:
    """Squared distance to the nearest of C means under one covariance.

    Coordinates are ``(x - center) @ whitening``, in which the covariance is the identity.

    Attributes:
        layer: the layer looked at.
        center: ``(d,)``, a point near the data; subtracted first, so that no digits are lost.
        whitening: ``(d, r)``, r the rank of the covariance.
        means: ``(C, r)``, the means in these coordinates.
        points: N.
        dropped: directions without variance, d - r, which are ignored.
    """

    layer: str
    center: np.ndarray
    whitening: np.ndarray
    means: np.ndarray
    points: int
    dropped: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """Squared Mahalanobis distance to the nearest mean, ``(n,)`` float64, >= 0.

        Raises:
            MeasureError: the layer is not stored, has another width, or holds values that are not
                finite or whose squares leave the range of float64.
        """
        points = layer_rows(inputs.channels, self.layer, inputs.rows)
        entries = len(self.center)
        if points.shape[1] != entries:
            raise MeasureError(
                f"layer {self.layer}: {points.shape[1]} entries but {entries} in training; "
                "use the same model for both"
            )
        means = torch.from_numpy(self.means)
        nearest = np.empty(len(points))
        for part in row_blocks(len(points), max(entries, len(means))):
            values = exact_rows(points, part, self.layer)
            with np.errstate(over="ignore", invalid="ignore"):  # refused below
                values = (values - self.center) @ self.whitening
            nearest[part] = squared_euclidean(torch.from_numpy(values), means).amin(1).numpy()
        _require_range(nearest, self.layer)
        return nearest


@dataclass(frozen=True)
class RelativeMahalanobis:
    """Distance to the nearest class less that to all data: what is special about the classes."""

    classes: Mahalanobis
    background: Mahalanobis

    def score(self, inputs: Evidence) -> np.ndarray:
        """``min_c d_c - d_0``, ``(n,)`` float64 of either sign.

        Raises:
            MeasureError: as `Mahalanobis.score`.
        """
        return self.classes.score(inputs) - self.background.score(inputs)


@dataclass(frozen=True)
class _Moments:
    """Per class the size ``(C,)`` and the mean less ``center`` ``(C, d)``; the tied covariance."""

    layer: str
    center: np.ndarray
    sizes: np.ndarray
    means: np.ndarray
    covariance: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.sizes @ self.means / self.sizes.sum()

    def between(self) -> np.ndarray:
        """Covariance of the class means; with the tied one it adds up to that of all points."""
        apart = (self.means - self.mean) * np.sqrt(self.sizes / self.sizes.sum())[:, None]
        return apart.T @ apart


def fit_mahalanobis(known: Known, layers: tuple[str, ...]) -> Mahalanobis:
    """Class means and their common covariance from the labeled training points of one layer.

    Raises:
        MeasureError: no training labels, nothing stored of the layer, more than 4096 entries, no
            variance within the classes, values out of range.
    """
    return _of_classes(_moments(known, one_layer(layers)))


def fit_rmds(known: Known, layers: tuple[str, ...]) -> RelativeMahalanobis:
    """The same, and one Gaussian of all labeled training points as the background.

    Raises:
        MeasureError: as `fit_mahalanobis`.
    """
    moments = _moments(known, one_layer(layers))
    classes = _of_classes(moments)
    total = moments.covariance + moments.between()
    return RelativeMahalanobis(classes, _gaussian(moments, total, moments.mean[None], 0.0))


def _of_classes(moments: _Moments) -> Mahalanobis:
    whole = np.trace(moments.covariance) + np.trace(moments.between())
    return _gaussian(moments, moments.covariance, moments.means, ROUNDING * whole)


def _gaussian(
    moments: _Moments, covariance: np.ndarray, means: np.ndarray, rounding: float
) -> Mahalanobis:
    values, vectors = np.linalg.eigh(covariance)
    keep = values > max(TOLERANCE * values[-1], rounding)
    if not keep.any():
        raise MeasureError(
            f"layer {moments.layer}: all training points of a class are equal, so that there is no "
            "covariance; leave the layer out"
        )
    whitening = vectors[:, keep] / np.sqrt(values[keep])
    return Mahalanobis(
        layer=moments.layer,
        center=moments.center,
        whitening=whitening,
        means=means @ whitening,
        points=int(moments.sizes.sum()),
        dropped=int((~keep).sum()),
    )


def _moments(known: Known, layer: str) -> _Moments:
    labels = training_labels(known)
    points = layer_rows(known.training.channels, layer, len(labels))
    entries = points.shape[1]
    if entries > MOST_ENTRIES:
        raise MeasureError(
            f"layer {layer} has {entries} entries, a covariance is made of at most {MOST_ENTRIES}; "
            "dump it with --reduce mean"
        )
    # class numbers 0..C-1 of the classes that occur, -1 stays
    present, numbers = np.unique(labels[labels >= 0], return_inverse=True)
    classes = np.full(len(labels), -1)
    classes[labels >= 0] = numbers
    first = int(np.flatnonzero(classes >= 0)[0])
    center = exact_rows(points, slice(first, first + 1), layer)[0]
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        sizes = np.bincount(numbers, minlength=len(present))
        means = _class_sums(points, classes, center, layer) / sizes[:, None]
        covariance = _scatter(points, classes, center, means, layer) / sizes.sum()
    _require_range(covariance, layer)
    return _Moments(layer, center, sizes, means, covariance)


def _class_sums(
    points: np.ndarray, classes: np.ndarray, center: np.ndarray, layer: str
) -> np.ndarray:
    """Sum of ``x - center`` of every class, ``(C, d)``."""
    sums = np.zeros((classes.max() + 1, points.shape[1]))
    for part in blocks(points):
        rows = np.flatnonzero(classes[part] >= 0)
        if len(rows) == 0:
            continue
        rows = rows[np.argsort(classes[part][rows], kind="stable")]
        present, starts = np.unique(classes[part][rows], return_index=True)
        values = exact_rows(points, part, layer)[rows] - center
        sums[present] += np.add.reduceat(values, starts, axis=0)
    return sums


def _scatter(
    points: np.ndarray, classes: np.ndarray, center: np.ndarray, means: np.ndarray, layer: str
) -> np.ndarray:
    """Sum of ``(x - mean)(x - mean)^T`` over the labeled points, ``(d, d)``; means less center."""
    total = np.zeros((points.shape[1], points.shape[1]))
    for part in blocks(points):
        labeled = classes[part] >= 0
        # in two steps: center + mean would be rounded to the digits of the offset
        apart = exact_rows(points, part, layer)[labeled] - center
        apart -= means[classes[part][labeled]]
        total += apart.T @ apart
    return total


def _require_range(values: np.ndarray, layer: str) -> None:
    if not np.isfinite(values).all():
        raise MeasureError(
            f"layer {layer}: values so large that their squares leave the range of float64; "
            "scale the layer or leave it out"
        )
