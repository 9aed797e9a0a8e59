"""The texts that travel inside a TorchScript file: torch's extra files."""

import zipfile
from pathlib import Path

# settings are short; anything longer is something else
LONGEST_TEXT = 1 << 20


def extra_texts(path: Path) -> dict[str, str]:
    """The extra files of a TorchScript archive that are text, by name."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _, inside, name = member.filename.partition("/extra/")
            if not inside or member.file_size > LONGEST_TEXT:
                continue
            try:
                found[name] = archive.read(member).decode("utf-8")
            except UnicodeDecodeError:
                continue
    return found
