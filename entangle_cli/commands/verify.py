"""``entangle verify``: every byte of activation files against their checksums."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import options

if TYPE_CHECKING:
    from entangle_cli.results import Row
    from entangle_cli.runs.shared.console import Terminal

_SUFFIXES = (".h5", ".hdf5")
# what lies beside an activation file, and only there
_BESIDE = (".journal", ".manifest.json")


def verify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Activation file, or a folder that holds some.")
    ],
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    quiet: options.Quiet = False,
) -> None:
    """Read activation files again, byte by byte, and name what is damaged (exit code 2).

    Of a folder, every activation file anywhere below it. An unfinished file is intact if what it
    has committed is.
    """
    from entangle_cli.errors import StoreError
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.tables import plain_table

    if not run.exists():
        raise StoreError(f"{run}: no such file; give an activation file, or a folder with some")
    files = sorted(_files_below(run)) if run.is_dir() else [run]
    if not files:
        raise StoreError(f"{run}: holds no activation file; give one, or the --output of a command")
    terminal = Terminal(quiet=quiet)
    rows = [_checked(file, run, terminal) for file in files]
    result = Result(command="verify", rows=rows, provenance={"run": str(run)})
    show(result, options.chosen_format(format, json), plain_table(rows, str(run)))
    damaged = [row["file"] for row in rows if row["verdict"] == "damaged"]
    if damaged:
        others = f" and {len(damaged) - 1} more" * (len(damaged) > 1)
        raise StoreError(
            f"{run}: {len(damaged)} of {len(rows)} activation files damaged: {damaged[0]}{others}; "
            "dump again with --overwrite"
        )


def _files_below(folder: Path) -> set[Path]:
    """The activation files in a folder, also those of which only journal or manifest is left."""
    from entangle_cli.activations.file import is_activation_file

    everything = list(folder.rglob("*"))
    ours, named = set(), set()
    for beside in (path for path in everything if path.name.endswith(_BESIDE)):
        stem = beside.name.removesuffix(".journal").removesuffix(".manifest.json")
        names = [beside.with_name(stem + suffix) for suffix in (*_SUFFIXES, "")]
        named.update(names)
        ours.add(next((path for path in names if path.is_file()), names[0]))
    # neither journal nor manifest: ours by where it is, or by what it says of itself
    for path in everything:
        if path.suffix.lower() in _SUFFIXES and path not in named:
            if path.parent.name == "activations" or is_activation_file(path):
                ours.add(path)
    return ours


def _checked(file: Path, run: Path, terminal: "Terminal") -> "Row":
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.activations.verify import verify as damage_of
    from entangle_cli.errors import StoreError

    damage = damage_of(file, progress=terminal)
    rows, complete = None, None
    try:
        stored = ActivationFile.open(file)
    except StoreError:
        # said in the damage already
        pass
    else:
        rows, complete = stored.rows, stored.complete
    return {
        "file": str(file.relative_to(run)) if file != run else file.name,
        "rows": rows,
        "complete": complete,
        "verdict": "damaged" if damage else "intact",
        "what": "; ".join(_about(line, file) for line in damage) or None,
    }


def _about(line: str, file: Path) -> str:
    """What is wrong, without saying again which file it is about."""
    return line.removeprefix(f"{file}: ").removeprefix(f"{file.parent}/")
