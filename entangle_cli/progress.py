"""How the library tells how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """One long step after another: ``start``, some ``advance``, ``finish``."""

    def start(self, task: str, total: int) -> None:
        """A step of ``total`` units begins; ``task`` is what a person reads."""

    def advance(self, amount: int = 1) -> None:
        """``amount`` units are done."""

    def finish(self) -> None:
        """The step is over, complete or not."""


class _Silent:
    def start(self, task: str, total: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def finish(self) -> None:
        pass


silent: Progress = _Silent()
