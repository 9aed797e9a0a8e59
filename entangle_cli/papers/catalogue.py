"""Every claim by name: whatever module of ``papers.claims`` names in ``CLAIMS``."""

import importlib
import pkgutil
import re
from collections.abc import Sequence

from entangle_cli.errors import UsageError
from entangle_cli.papers import claims as claims_package
from entangle_cli.papers.claim import Claim
from entangle_cli.text import plain, suggestion

ALL = "all"


def catalogue() -> tuple[Claim, ...]:
    """All claims, figures before tables, by their numbers."""
    found: list[Claim] = []
    for module in pkgutil.iter_modules(claims_package.__path__):
        loaded = importlib.import_module(f"{claims_package.__name__}.{module.name}")
        found += loaded.CLAIMS
    return tuple(sorted(found, key=lambda claim: _natural(claim.name)))


def chosen(names: Sequence[str], claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The claims that these names stand for, each once, in the order of the catalogue.

    Raises:
        UsageError: no claim answers to a name.
    """
    if ALL in names:
        return tuple(claims)
    known: dict[str, set[str]] = {}
    for claim in claims:
        for name in claim.names:
            known.setdefault(name, set()).add(claim.name)
    for name in names:
        if name not in known:
            raise UsageError(
                f"claim {plain(name)}: unknown{suggestion(name, known)}; "
                "'entangle reproduce list' has them all"
            )
    wanted = {own for name in names for own in known[name]}
    return tuple(claim for claim in claims if claim.name in wanted)


def _natural(name: str) -> tuple[str, int, str]:
    number = re.search(r"\d+", name)
    return (name[: number.start()], int(number[0]), name) if number else (name, 0, name)
