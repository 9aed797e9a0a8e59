"""How many samples of a data set are exact copies of others, kept for runs that do not read it.

The count is made while a data set is read for a dump. It lies beside the activations, so that the
same command says the same when it finds them there.
"""

import json
from pathlib import Path

from entangle_cli.activations.duplicates import duplicates_note
from entangle_cli.activations.feed import Feed
from entangle_cli.activations.schema import digest
from entangle_cli.results import write_text
from entangle_cli.text import parse_json

PREFIX = "copies-"


def copies_note(feed: Feed, folder: Path) -> str | None:
    """What to say of the copies in ``feed``, by what was read of it now or before."""
    seen, name = feed.duplicates, feed.dataset.name
    path = folder / f"{PREFIX}{_key(feed)}.json"
    if seen.read == feed.rows:
        remember(path, seen.count)
        return seen.note(name)
    known = remembered(path, feed.rows)
    return seen.note(name) if known is None else duplicates_note(name, known, feed.rows)


def remember(path: Path, count: int) -> None:
    """Keep a count of copies; that there are none needs no file."""
    if count and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"copies": count}) + "\n")


def remembered(path: Path, rows: int) -> int | None:
    """The count that was kept for a data set of so many samples, None where there is none."""
    try:
        count = parse_json(path.read_text(encoding="utf-8"))["copies"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) and 0 < count < rows else None


def _key(feed: Feed) -> str:
    """What determines the inputs: the data, and how it is fed."""
    preprocessing = feed.preprocessing
    inputs = [spec.name for spec in feed.inputs]
    how = None if preprocessing is None else preprocessing.to_json()
    return digest([feed.dataset.fingerprint, how, inputs])[:20]
