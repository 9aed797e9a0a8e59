"""The last linear layer from what it was given and what it answered, where no file tells it.

Z = F W' + b is solved for W and b by least squares, in float64, through the normal equations of
centered F and Z. The answer counts only if it reproduces the class scores, which shows that the
layer between is affine and that F is what it reads.
"""

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Head, blocks

# of the spread of the class scores; stored activations have 24 bits
WORST_RESIDUAL = 1e-3
# eigenvalues of the features' covariance below this share of the largest are directions never seen
_RANK = 1e-12
# squared, of stored class scores
_ROUNDING = 1e-14


def recover_head(features: np.ndarray, logits: np.ndarray) -> tuple[Head, int]:
    """Weight and bias from features ``(n, D)`` and class scores ``(n, C)``.

    Returns:
        The head, and how many of the D directions no input varies in: the weight is zero there.

    Raises:
        MeasureError: not more inputs than features, or the class scores are not an affine function
            of these features; the message has the residual.
    """
    count, width = features.shape
    if count <= width + 1:
        raise MeasureError(
            f"{count} inputs for {width} features; the last linear layer needs more than "
            f"{width + 1} to be recovered by least squares"
        )
    logits = np.asarray(logits, dtype=np.float64)
    middle, answer = _mean(features), logits.mean(axis=0)
    if not (np.isfinite(middle).all() and np.isfinite(answer).all()):
        raise MeasureError("a feature or class score is not finite; leave the input out")
    square, product = np.zeros((width, width)), np.zeros((width, logits.shape[1]))
    for part in blocks(features):
        apart = features[part].astype(np.float64) - middle
        square += apart.T @ apart
        product += apart.T @ (logits[part] - answer)
    spread = float(np.square(logits - answer).sum())
    if spread <= _ROUNDING * float(np.square(logits).sum()):
        raise MeasureError("class scores are the same for every input, which shows no weight")
    values, vectors = np.linalg.eigh(square)
    seen = values > max(values[-1], 0.0) * _RANK
    weight = (vectors[:, seen] / values[seen]) @ (vectors[:, seen].T @ product)
    head = Head(weight.T, answer - middle @ weight)
    wrong = sum(
        float(np.square(head.logits(features[part]) - logits[part]).sum())
        for part in blocks(features)
    )
    if wrong > WORST_RESIDUAL**2 * spread:
        raise MeasureError(
            f"class scores are not an affine function of these features (residual "
            f"{np.sqrt(wrong / spread):.2g} of their spread, at most {WORST_RESIDUAL:g}); give the "
            "input of the last linear layer"
        )
    return head, int(width - seen.sum())


def _mean(features: np.ndarray) -> np.ndarray:
    total = np.zeros(features.shape[1])
    for part in blocks(features):
        total += features[part].astype(np.float64).sum(axis=0)
    return total / len(features)
