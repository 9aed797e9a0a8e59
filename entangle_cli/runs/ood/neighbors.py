"""Neighbors among the training data, in the metrics that detectors want."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from entangle_cli.activations.file import ActivationFile
from entangle_cli.library.evidence import NeighborsOf

if TYPE_CHECKING:
    from entangle_cli.runs.shared.searching import Searching


def near_training(
    searching: "Searching",
    metrics: Sequence[str],
    train: ActivationFile,
    queried: Sequence[ActivationFile],
    layers: Sequence[str],
) -> list[NeighborsOf]:
    """Neighbors of each of ``queried`` among ``train``; none in a layer that holds NaN."""

    def ordered(file: ActivationFile) -> tuple[str, ...]:
        broken = {*train.nonfinite, *file.nonfinite}
        return tuple(layer for layer in layers if layer not in broken)

    found: dict[int, NeighborsOf] = {}
    for usable in dict.fromkeys(map(ordered, queried)):
        files = [file for file in queried if ordered(file) == usable]
        lists = searching.by_metric(metrics, train, files, usable)
        found |= {id(file): one for file, one in zip(files, lists, strict=True)}
        if len(usable) < len(layers):
            names = ", ".join(dict.fromkeys(file.path.name for file in files))
            without = ", ".join(layer for layer in layers if layer not in usable)
            searching.notes.append(
                f"{names}: no neighbors in {without}, where a value is NaN or infinite"
            )
    return [found[id(file)] for file in queried]


def metrics_needed(needs: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """The metrics in which neighbors are wanted."""
    wanted = frozenset().union(*needs)
    return tuple(metric for metric in ("cosine", "euclidean") if metric in wanted)
