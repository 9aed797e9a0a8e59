"""``entangle measure --watch``: checkpoints are measured as a training run writes them.

The folder is looked at once a second. A checkpoint counts as complete when it has not changed for
a settling time and can be opened (`arrivals`); hidden and temporary names are not looked at. The
files are written after every checkpoint. One that is deleted stays in the results, one that is
replaced is measured again. In the end everything is as if the folder had been measured then.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import EntangleError, ModelError, StoppedEarly, UsageError
from entangle_cli.models.series import Checkpoint
from entangle_cli.project import Project
from entangle_cli.runs.measure.readings import readings
from entangle_cli.runs.measure.run import measure_checkpoint
from entangle_cli.runs.measure.trackers import Trackers
from entangle_cli.runs.shared.live import Board
from entangle_cli.runs.shared.preparing import Prepared, open_checkpoint, prepare
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.watch.arrivals import PATIENCE_SECONDS, SETTLE_SECONDS, Arrivals
from entangle_cli.runs.watch.folder import WatchedFolder
from entangle_cli.runs.watch.results import Pieces, require_rows

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Resolved
    from entangle_cli.models import Model

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Watch:
    """What to watch, and when to end: after so many checkpoints, or seconds without news."""

    folder: WatchedFolder
    until: int | None = None
    idle: float | None = None


@dataclass(frozen=True)
class _Fed:
    """The preprocessing of a series, and how the checkpoint looked that it was found on."""

    source: tuple[str, Any]
    resolved: "Resolved"


class Watching:
    """One folder: what comes into it goes to ``pieces``, to the board and to the trackers."""

    def __init__(
        self,
        watch: Watch,
        dataset: "Dataset",
        project: Project,
        *,
        pieces: Pieces,
        board: Board,
        trackers: Trackers,
    ) -> None:
        self.watch, self.pieces = watch, pieces
        self._dataset, self._project = dataset, project
        self._board, self._trackers = board, trackers
        self._arrivals = Arrivals(settle=SETTLE_SECONDS, patience=PATIENCE_SECONDS)
        self._failed: dict[str, EntangleError] = {}
        self._refused: dict[str, str] = {}
        self._fed: dict[str, _Fed] = {}
        self._seen: dict[str, Any] = {}
        self._news = time.monotonic()

    @property
    def failed(self) -> list[str]:
        """What could not be measured."""
        return [*self._failed, *self.pieces.failed]

    @property
    def waiting(self) -> list[str]:
        """What is there and could not be opened so far, each with the reason."""
        names = [name for name in self._seen if name not in (*self.pieces.names, *self._failed)]
        return [
            reason
            if name in (reason := self._refused.get(name, "still changing"))
            else f"{name}: {reason}"
            for name in names
        ]

    def run(self) -> None:
        """Measure what comes until the watch ends.

        Raises:
            UsageError: the command line fits no checkpoint.
            StoppedEarly: the disk is full.
        """
        self.pieces.take_over(self.watch.folder.look())
        while not self._ended():
            self._seen = self.watch.folder.look()
            due = self._arrivals.look(self._seen, time.monotonic())
            for checkpoint in self.pieces.ordered(due):
                if self._enough():
                    return
                self._take(checkpoint, due)
            if not self._ended():
                time.sleep(POLL_SECONDS)

    def _ended(self) -> bool:
        if self._enough():
            return True
        if self.watch.idle is None:
            return False
        news = max(self._news, self._arrivals.last_change or 0.0)
        # whoever waits for less than a file takes to settle would see none
        patience = max(self.watch.idle, SETTLE_SECONDS + 2 * POLL_SECONDS)
        return time.monotonic() - news >= patience

    def _enough(self) -> bool:
        return self.watch.until is not None and len(self.pieces) >= self.watch.until

    def _take(self, checkpoint: Checkpoint, due: list[str]) -> None:
        """Open one checkpoint and measure it; where it cannot be opened, it may come again."""
        name = checkpoint.path.name
        try:
            prepared = self._opened(checkpoint, due)
        except ModelError as error:
            self._refused[name] = str(error)
            if self._arrivals.refuse(name, time.monotonic()):
                self._fail(name, error)
            return
        except EntangleError as error:
            if isinstance(error, UsageError) and not len(self.pieces):
                raise
            self._arrivals.take(name)
            self._fail(name, error)
            return
        self._arrivals.take(name)
        piece = self.pieces.new()
        try:
            measure_checkpoint(piece, name, checkpoint.step, prepared)
            require_rows(piece)
        except StoppedEarly:
            raise
        except EntangleError as error:
            self._fail(name, error)
            return
        self.pieces.put(name, piece)
        self._failed.pop(name, None)
        self._tell(name)

    def _fail(self, name: str, error: EntangleError) -> None:
        self._board.terminal.error(str(error) if name in str(error) else f"{name}: {error}")
        self._failed[name] = error
        self._news = time.monotonic()

    def _tell(self, name: str) -> None:
        self.pieces.write()
        result = self.pieces.result()
        self._trackers.log(result, readings(result, self.pieces.paths, only=name))
        self._board.add(result, name)
        self._news = time.monotonic()

    def _opened(self, checkpoint: Checkpoint, due: list[str]) -> Prepared:
        run = self.pieces.new().run
        model = open_checkpoint(checkpoint, run)
        resolved = self._preprocessing(checkpoint, model, due)
        return prepare(model, self._dataset, self._project, run, resolved)

    def _preprocessing(
        self, checkpoint: Checkpoint, model: "Model", due: list[str]
    ) -> "Resolved | None":
        """What the last checkpoint of the series is fed with, as in a series that is complete.

        Where it is not what the earlier ones were fed with, they are measured again.
        """
        run, family = self.pieces.new().run, checkpoint.family
        present = [name for name in self._seen if name in self.pieces or name in due]
        last = [one for one in self.pieces.ordered(present) if one.family == family][-1]
        source = (last.path.name, self._seen[last.path.name])
        before = self._fed.get(family)
        if before is not None and before.source == source:
            return before.resolved
        try:
            probed = model if last == checkpoint else open_checkpoint(last, run)
            found = resolve(probed, self._dataset, self._project, run)
        except EntangleError:
            # reported when its turn comes; what the series was fed with so far may serve
            return None if before is None else before.resolved
        self._fed[family] = _Fed(source, found)
        if before is not None and before.resolved.preprocessing != found.preprocessing:
            self._measure_again(family, last.path.name)
        return found

    def _measure_again(self, family: str, because_of: str) -> None:
        names = [
            one.path.name for one in self.pieces.ordered(self.pieces.names) if one.family == family
        ]
        for name in names:
            self._arrivals.again(name, time.monotonic())
        why = f"{because_of} shows another preprocessing"
        self._board.terminal.note(f"{why}; what was measured before it is measured again")
        gone = [name for name in names if name not in self._seen]
        if gone:
            self.pieces.notes.append(
                f"{why} than was used for {', '.join(gone)}, which cannot be measured again"
            )
