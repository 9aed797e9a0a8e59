"""How a TorchScript network behaves: which batches it takes, whether runs repeat themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.network import Network
from entangle_cli.models.torchscript.probe import Recording, record, record_shapes
from entangle_cli.models.torchscript.taps import Firing, tensors
from entangle_cli.models.torchscript.values import batch_size, outputs, take_rows

# tried in turn; a traced reshape may have burnt in any batch size
_BATCHES = (4, 8, 16, 32, 64, 128)
# an example of up to so many rows is run as it is
_SMALL = 8
# kernels differ between batch sizes by rounding; a mixture of rows shows far above that
_SAME_ROW = 1e-3


@dataclass
class Trial:
    """What a few runs on one example showed.

    ``rows`` is the batch size of ``recording``; ``wider`` has the shapes for one row more, None
    where the network takes ``rows`` rows only (``fixed``).
    """

    recording: Recording
    rows: int
    wider: dict[Firing, tuple[int, ...]] | None
    notes: list[str] = field(default_factory=list)

    @property
    def fixed(self) -> int | None:
        """The only batch size that the network takes, None if it takes any."""
        return self.rows if self.wider is None else None

    @property
    def gives_rows(self) -> bool:
        """Whether the first output has one row per row of the input."""
        first = next(tensors(self.recording.output), None)
        return first is not None and tuple(first.shape[:1]) == (self.rows,)


def try_out(network: Network, example: Sequence[object], *, resize: bool = True) -> Trial:
    """Run ``network`` on the rows of ``example``, in several batch sizes if ``resize``.

    Raises ModelError when no batch size runs. Settles ``network.writes_state``.
    """
    given = batch_size(example)
    usual = given if 2 <= given <= _SMALL else 2
    sizes = dict.fromkeys((usual, 2, 1, given, *_BATCHES)) if resize else [given]
    rows, recording = _first_that_runs(network, example, list(sizes))
    wider = _shapes(network, _rows(example, rows + 1)) if rows > 1 else None
    trial = Trial(recording, rows, wider)
    if rows == 1:
        trial.notes.append(f"{network.name} takes one row at a time; it is run row by row")
    elif wider is None:
        trial.notes.append(f"{network.name} takes batches of {rows} rows only; the last is padded")
    batch = _rows(example, rows)
    if _repeats_itself(network, batch, trial.notes) and trial.fixed is None:
        _check_rows_apart(network, batch, rows, trial.notes)
    return trial


def _first_that_runs(
    network: Network, example: Sequence[object], sizes: Sequence[int]
) -> tuple[int, Recording]:
    failure = None
    for rows in sizes:
        batch = _rows(example, rows)
        try:
            with network.guarded(batch):
                module, arguments = network.instance(), network.arguments(batch)
                return rows, record(network.graph, module, arguments)
        except ModelError as error:
            failure = failure or error
    raise failure


def _shapes(network: Network, batch: Sequence[object]) -> dict[Firing, tuple[int, ...]] | None:
    try:
        with network.guarded(batch):
            return record_shapes(network.graph, network.instance(), network.arguments(batch))
    except ModelError:
        return None


def _rows(example: Sequence[object], rows: int) -> list[object]:
    given = batch_size(example)
    return take_rows(list(example), np.arange(rows) % given, given)


def _repeats_itself(network: Network, batch: Sequence[object], notes: list[str]) -> bool:
    """Whether a second run of the same input gives the same output; notes why not."""
    module = network.instance()
    first, second = (outputs(network.run(batch, module=module)) for _ in range(2))
    if _same(first, second):
        network.writes_state = False
        return True
    if network.writes_state and _same(first, outputs(network.run(batch))):
        notes.append(
            f"{network.name} keeps state between calls; every batch starts from the state in the "
            "file, so results do not depend on the order of the batches"
        )
        return True
    notes.append(f"{network.name} gives another output when the same input is run again")
    return False


def _check_rows_apart(
    network: Network, batch: Sequence[object], rows: int, notes: list[str]
) -> None:
    """Note it if a row's output depends on the rows beside it."""
    try:
        alone = outputs(network.run(take_rows(list(batch), np.arange(1), rows)))
    except ModelError:
        return
    together = outputs(network.run(batch))
    for one, all_rows in zip(alone, together, strict=False):
        if one.shape[:1] == (1,) and all_rows.shape == (rows, *one.shape[1:]):
            scale = np.abs(one).max(initial=0.0)
            if np.abs(one[0] - all_rows[0]).max(initial=0.0) > _SAME_ROW * scale:
                notes.append(
                    f"{network.name} mixes the rows of a batch: the output of a row depends on "
                    "the rows beside it"
                )
                return


def _same(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(first, second, strict=True)
    )
