"""The manifest of a finished store: the seal over its journal and its size.

JSON for people and programs; its bytes are the canonical text, and it carries its own checksum,
so that a single changed byte is found.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entangle_cli.activations.durable import write_atomic
from entangle_cli.activations.journal import Journal
from entangle_cli.activations.schema import (
    FORMAT_VERSION,
    digest,
    journal_path,
    manifest_path,
)
from entangle_cli.errors import StoreError

_FORMAT = "entangle-activations-manifest"


def write_manifest(
    path: Path, journal: Journal, identity: Mapping[str, Any], nonfinite: Mapping[str, int]
) -> None:
    """Declare the store at ``path`` finished."""
    content = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "rows": journal.header.rows,
        "size": journal.header.size,
        "journal_sha256": _journal_digest(path),
        "identity": dict(identity),
        "nonfinite": dict(nonfinite),
    }
    write_atomic(manifest_path(path), _text(content))


def is_finished(path: Path, journal: Journal) -> bool:
    """Whether there is a manifest; if so it must agree with the journal.

    Raises:
        StoreError: the manifest or the journal is damaged.
    """
    manifest = manifest_path(path)
    try:
        raw = manifest.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{manifest}: cannot be read: {error.strerror}") from error
    content = _content(raw)
    if content is None:
        raise StoreError(f"{manifest}: damaged; dump again with --overwrite")
    header = journal.header
    agrees = (
        content.get("rows") == header.rows == journal.rows
        and content.get("size") == header.size
        and content.get("journal_sha256") == _journal_digest(path)
        and digest(content.get("identity")) == header.identity
    )
    if not agrees:
        raise StoreError(
            f"{journal_path(path)}: does not agree with {manifest.name}, one of them is damaged; "
            "dump again with --overwrite"
        )
    return True


def _journal_digest(path: Path) -> str:
    return hashlib.sha256(journal_path(path).read_bytes()).hexdigest()


def _text(content: Mapping[str, Any]) -> bytes:
    sealed = {**content, "checksum": digest(content)}
    return json.dumps(sealed, sort_keys=True, indent=1).encode() + b"\n"


def _content(raw: bytes) -> dict[str, Any] | None:
    """What a manifest says; None unless every byte is as it was written."""
    try:
        content = json.loads(raw)
        content.pop("checksum")
        intact = _text(content) == raw
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    return content if intact and content.get("format") == _FORMAT else None
