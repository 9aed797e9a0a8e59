"""Networks that claims share: each trained once, kept, and resumed where it was cut.

A network is known by its settings, the data that it saw and the device; its folder below
``networks`` bears a hash of these, so that two claims that ask for the same network get it. The
last state is a file of ``training.state``; a rerun goes on from it. Of two processes that ask for
the same network one trains it.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from entangle_cli.papers.alone import alone
from entangle_cli.papers.claim import Settings
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData
from entangle_cli.training.loop import Training, as_inputs
from entangle_cli.training.networks import Builder, build_network
from entangle_cli.training.run import Run, checkpoint_steps, run_training
from entangle_cli.training.settings import TrainingSettings

_BATCH = 512
# no layer is called so
_LOGITS = ""


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode, its checkpoint rows and the history of its losses.

    ``rows``: see ``training.run.run_training``; the last one is the trained network.
    """

    network: nn.Module
    rows: list[Row]
    history: list[Row]
    layers: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """On the test data, after the last step."""
        return self.rows[-1]["accuracy"]

    def entanglement(self, layer: str) -> float:
        """Of a hidden layer on up to 256 test samples, after the last step."""
        return self.rows[-1][f"entanglement {layer}"]


def trained(  # noqa: PLR0913 - what a network is made of
    settings: Settings,
    name: str,
    data: TrainingData,
    test: tuple[Tensor, Tensor],
    training: TrainingSettings,
    *,
    checkpoints: int = 2,
    network: str | Builder | None = None,
    trainer: Callable[..., Training] = Training,
) -> Trained:
    """The network of these settings, trained if it is not yet.

    ``name`` is a network of ``training.networks``, or else ``network`` is, or makes one.
    ``trainer`` makes the `Training`; where it is another (another loss, other inputs) ``name`` must
    say so, with all that changes the numbers.

    Raises:
        EntangleError: data or settings that do not fit, a loss that is not finite any more.
    """
    identity = {
        "network": name,
        **training.to_json(),
        "checkpoints": checkpoints,
        "data": _digest(data.images, data.labels),
        "test_data": _digest(*test),
        "device": settings.device.partition(":")[0],
    }
    built = build_network(network or name, data.shape, data.classes, training.seed)
    work = trainer(built, data.images, data.labels, training, device=settings.device)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    steps = checkpoint_steps(str(checkpoints), training.steps)
    place = Run(
        settings.networks / f"{name}-{key}",
        name,
        identity,
        data.preprocessing,
        steps,
        test,
        export_checkpoints=False,
    )
    with alone(place.folder):
        rows = run_training(work, place, progress=settings.progress)
    return Trained(work.network.eval(), rows or [], work.history, work.objective.layers)


def part(data: TrainingData, rows: Tensor | slice) -> TrainingData:
    """These rows alone."""
    return replace(data, images=data.images[rows], labels=data.labels[rows])


def split(data: TrainingData, held_out: int, seed: int) -> tuple[TrainingData, TrainingData]:
    """Training data without ``held_out`` rows drawn from ``seed``, and those rows."""
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    return part(data, order[held_out:].sort().values), part(data, order[:held_out].sort().values)


def logits_and_layers(
    found: Trained, images: Tensor, *, device: str = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits ``(n, C)`` and hidden layers ``(n, d)`` of images, on the CPU."""
    from entangle_cli.training.taps import find_taps, run_tapped

    taps = find_taps(found.network, found.layers, as_inputs(images[:2], device))
    kept: dict[str, Tensor] = {}
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            inputs = as_inputs(images[start : start + _BATCH], device)
            logits, outputs = run_tapped(found.network, taps, inputs)
            for name, values in {_LOGITS: logits, **outputs}.items():
                points = values.flatten(1)
                if name not in kept:
                    # whole layers of many images are large: they are never held twice
                    kept[name] = torch.empty(len(images), points.shape[1])
                kept[name][start : start + len(points)] = points.cpu()
    return kept.pop(_LOGITS), kept


def _digest(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for tensor in (images, labels):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
