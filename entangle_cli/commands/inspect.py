"""``entangle inspect``: what is in a model, a data set, an activation file or a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entangle_cli.commands import options
from entangle_cli.text import parse_json

if TYPE_CHECKING:
    from entangle_cli.results import Result, Row


def inspect(
    what: Annotated[
        str, typer.Argument(help="Model, data, activation file or run folder; or a name.")
    ],
    trust: options.Trust = False,
    sandbox: options.Sandbox = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    quiet: options.Quiet = False,
) -> None:
    """Say what a file or folder is and what it holds, without computing anything long."""
    from entangle_cli.project import find_project
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.sources import is_stored, names_model
    from entangle_cli.runs.shared.tables import facts_and_rows

    terminal = Terminal(quiet=quiet)
    project = find_project()
    run = options.RunOptions(
        output=Path(), trust=trust, sandbox=options.limits(sandbox, timeout, memory)
    )
    located = project.data_reference(what)
    if is_run(Path(located)):
        result = _run_folder(Path(located))
    elif is_stored(located):
        result = _activation_file(Path(located))
    elif names_model(what, project):
        result = _model(what, project, run)
    else:
        result = _data(what, project, run, terminal)
    for note in result.notes:
        terminal.note(note)
    show(result, options.chosen_format(format, json), facts_and_rows(result))


def is_run(path: Path) -> bool:
    """Whether a folder holds what a command wrote under ``--output``."""
    return path.is_dir() and ((path / "results.json").is_file() or (path / "activations").is_dir())


def _run_folder(path: Path) -> "Result":
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.results import Result

    rows: list[Row] = []
    for file in sorted(path.glob("*.json")):
        content = _read_json(file)
        if file.name != "results.json" and "command" in content:
            rows.append(_entry(file, path, content["command"], f"{len(content['rows'])} rows"))
    for file in sorted(path.glob("activations/*.h5")):
        stored = ActivationFile.open(file)
        state = "complete" if stored.complete else "incomplete; rerun the command to resume"
        what = f"{len(stored.layers)} layers x {stored.rows} samples, {state}"
        rows.append(_entry(file, path, "activations", what))
    return Result(command="inspect", rows=rows, provenance={"run": str(path)})


def _read_json(file: Path) -> dict[str, Any]:

    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def _entry(file: Path, folder: Path, kind: str, what: str) -> "Row":
    mib = file.stat().st_size / 2**20
    return {
        "file": str(file.relative_to(folder)), "kind": kind, "holds": what, "MiB": round(mib, 2)
    }  # fmt: skip


def _activation_file(path: Path) -> "Result":
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.commands.dump import stored_rows
    from entangle_cli.results import Result

    stored = ActivationFile.open(path)
    return Result(
        command="inspect",
        rows=stored_rows(stored),
        provenance={"activation file": str(path), "complete": stored.complete, **stored.identity},
        notes=list(stored.notes),
    )


def _model(what: str, project, run: options.RunOptions) -> "Result":
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.preparing import open_one_model

    model = open_one_model(what, project, run)
    rows = [
        {
            "input": spec.name,
            "type": spec.dtype,
            "shape": None if spec.shape is None else "x".join(str(d or "?") for d in spec.shape),
            "shape from": "file" if spec.declared else "first weights",
        }
        for spec in model.inputs
    ]
    provenance = {"model": str(model.path), "format": model.format, "sha256": model.sha256[:16]}
    return Result(command="inspect", rows=rows, provenance=provenance, notes=list(model.notes))


def _data(what: str, project, run: options.RunOptions, terminal) -> "Result":
    import numpy as np

    from entangle_cli.results import Result
    from entangle_cli.runs.shared.preparing import open_data

    dataset = open_data(what, project, run, terminal)
    rows: list[Row] = []
    if dataset.labels is not None:
        labels, counts = np.unique(dataset.labels, return_counts=True)
        names = dataset.class_names or ()
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            known = 0 <= label < len(names)
            rows.append({"label": label, "class": names[label] if known else None, "n": count})
    provenance = {
        "data": str(dataset.reference),
        "samples": len(dataset),
        "holds": dataset.kind,
        "each": _sample(dataset),
        "fingerprint": dataset.fingerprint[:16],
    }
    return Result(command="inspect", rows=rows, provenance=provenance)


def _sample(dataset) -> str:
    import numpy as np

    first = np.arange(1)
    if dataset.kind == "images":
        image = dataset.images(first)[0]
        return f"{'x'.join(map(str, image.shape))} {image.dtype}"
    arrays = dataset.arrays(first)
    return ", ".join(
        f"{name} {'x'.join(map(str, values.shape[1:])) or 'scalar'} {values.dtype}"
        for name, values in arrays.items()
    )
