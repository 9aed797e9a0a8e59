"""What a worker keeps open between units: the last thing alone, whose memory is known."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from entangle_cli.scratch import give_back

Kept = TypeVar("Kept")


class Latest(Generic[Kept]):
    """Makes something once for units that follow each other; it goes before the next is made."""

    def __init__(self, make: Callable[..., Kept]) -> None:
        self._make = make
        self._key: tuple[Hashable, ...] | None = None
        self._kept: Kept | None = None

    def __call__(self, *key: Hashable) -> Kept:
        """What ``make(*key)`` gave."""
        if key != self._key:
            self._key = self._kept = None
            give_back()
            self._kept = self._make(*key)
            self._key = key
        return self._kept
