"""Which checkpoints of a folder that is being written into are ready to be opened.

A checkpoint is due once everything that a look at it shows (size, time, inode of it and of the
files that belong to it) has stayed the same for a settling time. Where it cannot be read then, its
writer may only be slow: it is due again after twice the time, and so on until its reader's
patience ends. After that it rests until it changes.

Nothing here touches a file or a clock: looks and times come from the caller.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

SETTLE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0


@dataclass
class _File:
    """One checkpoint: how it looks, since when, and when it is to be opened next, if ever."""

    look: Hashable
    since: float
    due: float | None


class Arrivals:
    """Follows the files of one folder; times are seconds on any clock that does not go back."""

    def __init__(
        self, *, settle: float = SETTLE_SECONDS, patience: float = PATIENCE_SECONDS
    ) -> None:
        self.settle, self.patience = settle, patience
        # when something was last seen to be new or changed, None before
        self.last_change: float | None = None
        self._files: dict[str, _File] = {}

    def look(self, seen: Mapping[str, Hashable], now: float) -> list[str]:
        """Take note of what is there now; the names that are due, in the order of ``seen``.

        A name that is missing is forgotten: when it comes back, it is new.
        """
        self._files = {name: file for name, file in self._files.items() if name in seen}
        for name, look in seen.items():
            known = self._files.get(name)
            if known is None or known.look != look:
                self._files[name] = _File(look, now, now + self.settle)
                self.last_change = now
        return [name for name in seen if self._is_due(name, now)]

    def _is_due(self, name: str, now: float) -> bool:
        due = self._files[name].due
        return due is not None and due <= now

    def take(self, name: str) -> None:
        """It was opened: it is not due again before it changes."""
        self._files[name].due = None

    def again(self, name: str, now: float) -> None:
        """It is due once more, unchanged as it is."""
        if name in self._files:
            self._files[name].due = now

    def refuse(self, name: str, now: float) -> bool:
        """It could not be read; True once, when patience ends and somebody should be told."""
        file = self._files[name]
        unchanged = now - file.since
        if unchanged >= self.patience:
            file.due = None
            return True
        file.due = min(now + max(self.settle, unchanged), file.since + self.patience)
        return False

    @property
    def pending(self) -> bool:
        """Whether something is still to be opened."""
        return any(file.due is not None for file in self._files.values())
