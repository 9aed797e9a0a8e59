"""Attacks beyond steps along signs, served by the adversarial-robustness-toolbox.

*Conventions*: pixels ``(n, c, h, w)`` float32 in [0, 1]. Needs the extra ``attacks``; nothing else
here does.

    carlini-wagner   the smallest change in the Euclidean norm that the search finds: no epsilon
    auto-attack      two automatic PGDs, DeepFool and Square within epsilon of the maximum norm;
                     an input keeps the first change that fools the network, else stays as it is

References: Carlini, Wagner, arXiv 1608.04644; Croce, Hein, arXiv 2003.01690.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from entangle_cli.attacks.gradients import Network
from entangle_cli.errors import UsageError

CARLINI_WAGNER, AUTO_ATTACK = "carlini-wagner", "auto-attack"


def need_toolbox(method: str) -> None:
    """Say which extra is missing, where it is.

    Raises:
        UsageError: the toolbox is not installed.
    """
    # AutoAttack imports multiprocess, which the toolbox itself does not bring
    if any(find_spec(name) is None for name in ("art", "multiprocess")):
        raise UsageError(
            f"{method} needs the adversarial-robustness-toolbox: "
            "pip install 'entangle-cli[attacks]'"
        )


def carlini_wagner(
    network: Network, pixels: Tensor, labels: Tensor, *, steps: int, targeted: bool = False
) -> Tensor:
    """Pixels ``(n, c, h, w)`` moved as little as ten searches of ``steps`` steps find.

    Away from ``labels`` ``(n,)``, or towards them where ``targeted``. Where no search fools the
    network a pixel stays as it was.

    Raises:
        UsageError: the toolbox is not installed.
    """
    classifier = _classifier(network, pixels, CARLINI_WAGNER)
    from art.attacks.evasion import CarliniL2Method

    attack = CarliniL2Method(
        classifier, max_iter=steps, targeted=targeted, batch_size=len(pixels), verbose=False
    )
    return _generated(attack, pixels, labels)


def auto_attack(
    network: Network, pixels: Tensor, labels: Tensor, *, epsilon: float, seed: int = 0
) -> Tensor:
    """Pixels ``(n, c, h, w)`` moved by up to ``epsilon`` each, away from ``labels`` ``(n,)``.

    The toolbox draws from numpy's global generator, which is seeded for it and then put back.

    Raises:
        UsageError: the toolbox is not installed.
    """
    if epsilon == 0:
        return pixels
    classifier = _classifier(network, pixels, AUTO_ATTACK)
    from art.attacks.evasion import AutoAttack

    # the first step of an automatic PGD is the whole ball, as in its paper
    attack = AutoAttack(classifier, eps=epsilon, eps_step=epsilon, batch_size=len(pixels))
    for part in attack.attacks:
        if hasattr(part, "verbose"):
            part.verbose = False
    with _seeded(seed):
        return _generated(attack, pixels, labels)


class _Wrapped(nn.Module):
    """Any function of pixels, where the toolbox expects a module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        # in a list: a module inside would be switched between training and evaluation
        self._network = [network]

    def forward(self, pixels: Tensor) -> Tensor:
        return self._network[0](pixels)


def _classifier(network: Network, pixels: Tensor, method: str) -> object:
    need_toolbox(method)
    with warnings.catch_warnings():
        # what it imports announces what will change in it
        warnings.simplefilter("ignore")
        from art.estimators.classification import PyTorchClassifier
    with torch.no_grad():
        classes = network(pixels[:1]).shape[1]
    return PyTorchClassifier(
        model=_Wrapped(network),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(pixels.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu" if pixels.device.type == "cpu" else "gpu",
    )


def _generated(attack: object, pixels: Tensor, labels: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = attack.generate(pixels.cpu().numpy(), labels.cpu().numpy())
    return torch.from_numpy(made.astype(np.float32)).to(pixels.device)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = np.random.get_state()  # noqa: NPY002 - the toolbox knows no other generator
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
