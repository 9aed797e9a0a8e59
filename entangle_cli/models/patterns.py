"""The layers that a person means: names, aliases, globs over both, or a file of them.

A pattern is first taken literally, then as a glob in which ``*`` also crosses dots and slashes;
so ``lstm[1]`` and ``conv#3>relu`` need no quoting rules of their own.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from pathlib import Path

from entangle_cli.errors import UsageError
from entangle_cli.models import Layer
from entangle_cli.text import plain, suggestion

_EVERYTHING = "all"


def select_layers(
    layers: Sequence[Layer], include: Sequence[str], exclude: Sequence[str]
) -> tuple[str, ...]:
    """Names of the chosen layers in execution order; without ``include``, the default rows.

    ``all`` is every layer, ``@file`` stands for the patterns in a file, one per line. Where the
    shapes of layers are known, ``all`` and globs leave out those without one: a value that has no
    entry per sample cannot be measured. Naming it literally still chooses it.

    Raises:
        UsageError: a pattern matches nothing, a file of patterns cannot be read, or no layer is
            left.
    """
    chosen = {layer.name for layer in layers if layer.default}
    if include:
        chosen = _matching(layers, include)
    chosen -= _matching(layers, exclude)
    if not chosen:
        raise UsageError(_nothing_left(layers, include, exclude))
    return tuple(layer.name for layer in layers if layer.name in chosen)


def _matching(layers: Sequence[Layer], patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in _expanded(patterns):
        names = _matches(layers, pattern)
        if not names:
            known = [name for layer in layers for name in (layer.name, *layer.aliases)]
            raise UsageError(
                f"no layer matches '{plain(pattern)}'{suggestion(pattern, known)}; "
                "'entangle layers MODEL' lists them all"
            )
        found |= names
    return found


def _expanded(patterns: Sequence[str]) -> Iterable[str]:
    for pattern in patterns:
        if pattern.startswith("@"):
            yield from _lines(Path(pattern[1:]))
        else:
            yield pattern


def _lines(path: Path) -> list[str]:
    if path.exists() and not path.is_file():
        # a pipe would wait for ever
        raise UsageError(f"@{path}: not a regular file; give a file of layer patterns")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"@{path}: the layer patterns cannot be read: {reason}") from None
    # a name may hold a '#' (conv#3>relu), so only a line that starts with one is a comment
    patterns = [line for line in lines if line and not line.startswith("#")]
    if not patterns:
        raise UsageError(f"@{path}: no layer patterns in it; write one per line")
    return patterns


def _matches(layers: Sequence[Layer], pattern: str) -> set[str]:
    literal = {layer.name for layer in layers if layer.name == pattern}
    literal = literal or {layer.name for layer in layers if pattern in layer.aliases}
    if literal:
        return literal
    usable = [layer for layer in layers if layer.shape is not None] or layers
    if pattern == _EVERYTHING:
        return {layer.name for layer in usable}
    fits = re.compile(translate(pattern)).match
    return {layer.name for layer in usable if any(map(fits, (layer.name, *layer.aliases)))}


def _nothing_left(layers: Sequence[Layer], include: Sequence[str], exclude: Sequence[str]) -> str:
    if exclude:
        patterns = ", ".join(plain(pattern) for pattern in exclude)
        return f"no layer is left after --exclude-layers {patterns}"
    if include or not layers:
        return "the model has no layer that can be measured"
    return "the model has no default layers; choose some of 'entangle layers MODEL' with --layers"
