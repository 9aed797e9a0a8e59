"""Hostile files, and how to tell whether one of them has got its way.

A trap is a bench with a *canary* outside of it, whose content must appear nowhere, and a *mark*, a
file that the input tries to write. Only the gates of the command line stand between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import Answer, Bench

SECRET = "canary-4f9a1c"


@dataclass(frozen=True)
class Trap(Bench):
    """A bench, a canary to be read and a mark to be left."""

    canary: Path
    mark: Path

    def sprung(self, answer: Answer) -> list[str]:
        """What the input has achieved; empty for nothing."""
        found = [f"the mark {self.mark.name}"] if self.mark.exists() else []
        for where, text in (("stdout", answer.stdout), ("stderr", answer.stderr)):
            found += [f"the canary on {where}"] if SECRET in text else []
            found += (
                [f"a terminal code on {where}"] if set("\x1b\x07\x9b\u202e") & set(text) else []
            )
        for path in (self.folder / "entangle-out").rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                found.append(f"the canary in {path.name}")
        return found


@dataclass(frozen=True)
class Hostile:
    """A hostile file, the command line that meets it, and what the refusal says; None: answered."""

    name: str
    build: Callable[[Trap], object]
    words: str
    says: str | None


HOSTILE: dict[str, Hostile] = {}


def hostile(words: str, says: str | None) -> Callable:
    """Register the builder of a hostile file."""

    def register(build: Callable[[Trap], object]) -> Callable:
        assert build.__name__ not in HOSTILE
        HOSTILE[build.__name__] = Hostile(build.__name__, build, words, says)
        return build

    return register
