"""Text from strangers made safe to show: names of files, layers and classes are not trusted."""

import json
import unicodedata
from collections.abc import Iterable
from typing import Any


def plain(text: str) -> str:
    """``text`` without control, formatting and direction characters, which a terminal would obey.

    Each such character is replaced by its escape (``\\x1b``), so that two names stay apart.
    """
    return "".join(c if _printable(c) else c.encode("unicode_escape").decode() for c in text)


def _printable(character: str) -> bool:
    return character == " " or unicodedata.category(character) not in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    )


def shortened(line: str, longest: int = 600) -> str:
    """``line`` with its middle left out where it is very long: both ends say what matters.

    >>> shortened("a damaged name: " + "x" * 50 + "; get it again", 40)
    'a damaged name: xxxxxx … ; get it again'
    """
    if len(line) <= longest:
        return line
    end = longest // 3
    return f"{line[: longest - end - 5]} … {line[-end - 1 :]}"


def csv_cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would run as a formula is quoted."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def read_cell(cell: str) -> str:
    """A cell's text as it was before `csv_cell` put a quote in front of what looks like a formula.

    >>> read_cell("'=1+1"), read_cell("'quoted'")
    ('=1+1', "'quoted'")
    """
    return cell[1:] if cell[:2] in ("'=", "'+", "'-", "'@") else cell


def file_stem(name: str) -> str:
    """A name, such as a data set's, as part of a file name.

    >>> file_stem("mnist@test[0:5]")
    'mnist-test-0-5-'
    """
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def suggestion(given: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when something known is close to what was given, else nothing."""
    # errors alone need it, and every command would pay for the import
    import difflib

    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def parse_json(text: str | bytes) -> Any:
    """As ``json.loads``; what is nested too deeply is no JSON either.

    Raises:
        ValueError: no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
