"""Every detector by name: what it looks at, what it needs, where it was published.

logits     class scores
features   the input of the last linear layer
layer      one hidden layer
layers     all hidden layers together
"""

from fnmatch import fnmatchcase

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.boundaries import fit_fdbd, fit_nci
from entangle_cli.measures.ood.directions import fit_gradnorm, fit_nnguide, fit_she
from entangle_cli.measures.ood.distances import fit_knn, fit_knn_euclidean, fit_lid
from entangle_cli.measures.ood.dknn_scores import fit_dknn_count, fit_dknn_credibility
from entangle_cli.measures.ood.fisher import (
    fit_fisher_dknn,
    fit_fisher_knn,
    fit_fisher_mahalanobis,
    fit_fisher_rmds,
    fit_fisher_snnl,
)
from entangle_cli.measures.ood.gaussian import fit_mahalanobis, fit_rmds
from entangle_cli.measures.ood.interface import Fit, Method, Need, Scope
from entangle_cli.measures.ood.logit_fitted import fit_kl_matching, fit_temperature_msp
from entangle_cli.measures.ood.logit_scores import (
    fit_energy,
    fit_entropy,
    fit_gen,
    fit_max_logit,
    fit_msp,
)
from entangle_cli.measures.ood.shaping import (
    fit_ash_b,
    fit_ash_p,
    fit_ash_s,
    fit_dice,
    fit_react,
    fit_scale,
)
from entangle_cli.measures.ood.soft_neighbors import fit_snnl_point
from entangle_cli.measures.ood.subspace import fit_residual, fit_vim
from entangle_cli.text import suggestion


def _of(scope: Scope, name: str, fit: Fit, summary: str, *needs: Need) -> Method:
    return Method(name, scope, summary, frozenset(needs), fit)


METHODS: tuple[Method, ...] = (
    _of("logits", "msp", fit_msp, "1 - largest softmax probability (Hendrycks 2017)"),
    _of("logits", "max_logit", fit_max_logit, "- largest class score (Hendrycks 2022)"),
    _of("logits", "energy", fit_energy, "- log sum of exponentials (Liu 2020)"),
    _of("logits", "entropy", fit_entropy, "entropy of the softmax"),
    _of("logits", "gen", fit_gen, "generalized entropy (Liu 2023)"),
    _of("logits", "temperature_msp", fit_temperature_msp, "MSP at the calibrated temperature"),
    _of("logits", "kl_matching", fit_kl_matching, "divergence from the classes' mean softmax"),
    _of("features", "residual", fit_residual, "length outside the principal space (Wang 2022)"),
    _of("features", "vim", fit_vim, "residual against energy (Wang 2022)"),
    _of("features", "react", fit_react, "energy of clipped features (Sun 2021)"),
    _of("features", "ash_p", fit_ash_p, "energy of pruned features (Djurisic 2023)"),
    _of("features", "ash_b", fit_ash_b, "energy of binarized features (Djurisic 2023)"),
    _of("features", "ash_s", fit_ash_s, "energy of pruned, scaled features (Djurisic 2023)"),
    _of("features", "scale", fit_scale, "energy of scaled features (Xu 2024)"),
    _of("features", "dice", fit_dice, "energy of the largest contributions (Sun 2022)"),
    _of("features", "gradnorm", fit_gradnorm, "gradient of the last layer (Huang 2021)"),
    _of("features", "she", fit_she, "product with the class's mean feature (Zhang 2023)"),
    _of("features", "nnguide", fit_nnguide, "energy guided by near features (Park 2023)"),
    _of("features", "fdbd", fit_fdbd, "distance to decision boundaries (Liu 2024)"),
    _of("features", "nci", fit_nci, "proximity to the class's weight (Liu 2025)"),
    _of("layer", "knn", fit_knn, "k-th neighbor of unit vectors (Sun 2022)", "cosine"),
    _of("layer", "knn_euclidean", fit_knn_euclidean, "k-th neighbor's distance", "euclidean"),
    _of("layer", "lid", fit_lid, "local intrinsic dimension (Ma 2018)", "euclidean"),
    _of("layer", "mahalanobis", fit_mahalanobis, "nearest class's Gaussian (Lee 2018)", "channels"),
    _of("layer", "rmds", fit_rmds, "the same, less a Gaussian of all (Ren 2021)", "channels"),
    _of("layer", "snnl_point", fit_snnl_point, "soft nearest neighbor loss (experimental)"),
    _of("layer", "dknn_count", fit_dknn_count, "neighbors of the predicted class", "cosine"),
    _of("layer", "dknn_credibility", fit_dknn_credibility, "1 - DkNN credibility", "cosine"),
    _of("layers", "dknn_count", fit_dknn_count, "the same over all layers", "cosine"),
    _of("layers", "dknn_credibility", fit_dknn_credibility, "1 - DkNN credibility", "cosine"),
    _of("layers", "fisher_knn", fit_fisher_knn, "knn of all layers, Fisher-Brown", "cosine"),
    _of("layers", "fisher_mahalanobis", fit_fisher_mahalanobis, "mahalanobis, ...", "channels"),
    _of("layers", "fisher_rmds", fit_fisher_rmds, "rmds of all layers, Fisher-Brown", "channels"),
    _of("layers", "fisher_dknn", fit_fisher_dknn, "dknn_count, Fisher-Brown", "cosine"),
    _of("layers", "fisher_snnl", fit_fisher_snnl, "snnl_point of all layers, Fisher-Brown"),
)
NAMES: tuple[str, ...] = tuple(dict.fromkeys(method.name for method in METHODS))
# a second search of every layer, for two detectors: by request only
_BY_REQUEST = frozenset(method.name for method in METHODS if "euclidean" in method.needs)


def choose_methods(patterns: tuple[str, ...]) -> tuple[Method, ...]:
    """The catalogue's entries that match any of the names or globs, in its order.

    ``all`` is every one; without patterns, all but those that need a second neighbor search.

    Raises:
        MeasureError: a pattern that matches none.
    """
    if not patterns:
        return tuple(method for method in METHODS if method.name not in _BY_REQUEST)
    for pattern in patterns:
        if pattern != "all" and not any(fnmatchcase(name, pattern) for name in NAMES):
            raise MeasureError(
                f"detector {pattern!r} is unknown{suggestion(pattern, NAMES)}; "
                f"there are {', '.join(NAMES)}"
            )
    return tuple(
        method
        for method in METHODS
        if any(pattern == "all" or fnmatchcase(method.name, pattern) for pattern in patterns)
    )
