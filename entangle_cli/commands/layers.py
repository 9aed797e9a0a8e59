"""``entangle layers``: everything in a model that can be measured."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import options
from entangle_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.models import Model

_EXAMPLE_ROWS = 4
# of two random samples
_MOST_VALUES = 2**28


def layers(
    model: Annotated[str, typer.Argument(help="Model file, or its name in entangle.toml.")],
    data: Annotated[
        str | None, typer.Argument(help="Data that fits the model, where shapes are unknown.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="C,H,W", help="Shape of one input, where the file does not tell."),
    ] = None,
    only_default: Annotated[
        bool, typer.Option("--default", help="Only the rows that are measured by default.")
    ] = False,
    preprocess: options.Preprocess = None,
    device: options.Device = "cpu",
    trust: options.Trust = False,
    sandbox: options.Sandbox = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    quiet: options.Quiet = False,
) -> None:
    """List the layers of a model: name, kind, shape per sample, and which are measured."""
    from entangle_cli.project import find_project
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.preparing import open_one_model
    from entangle_cli.runs.shared.tables import plain_table

    terminal = Terminal(quiet=quiet)
    project = find_project()
    run = options.RunOptions(
        output=Path(),
        preprocess=preprocess,
        device=device,
        trust=trust,
        sandbox=options.limits(sandbox, timeout, memory),
    )
    opened = open_one_model(model, project, run)
    example = _example(opened, data, input_shape, project, run, terminal)
    result = Result(command="layers", rows=_rows(opened, example, only_default))
    result.models = [{"model": opened.path.name, "sha256": opened.sha256, "format": opened.format}]
    result.notes = list(opened.notes)
    for message in result.notes:
        terminal.note(message)
    title = f"{opened.path.name}: {len(result.rows)} layers, * measured by default"
    shown = [{**row, "default": "*" if row["default"] else ""} for row in result.rows]
    show(result, options.chosen_format(format, json), plain_table(shown, title))


def _rows(model: "Model", example: "list[np.ndarray] | None", only_default: bool) -> list[dict]:
    return [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "shape": None if layer.shape is None else "x".join(str(d or "?") for d in layer.shape),
            "default": layer.default,
            "aliases": list(layer.aliases),
        }
        for layer in model.layers(example)
        if layer.default or not only_default
    ]


def _example(model, data, input_shape, project, run, terminal) -> "list[np.ndarray] | None":
    """A few rows of the data, or random rows of the given shape, or None."""
    if data is not None:
        from entangle_cli.datasets import limit
        from entangle_cli.runs.shared.preparing import open_data, prepare

        few = limit(open_data(data, project, run, terminal), _EXAMPLE_ROWS, run.seed)
        prepared = prepare(model, few, project, run)
        return prepared.feed.batch(0, prepared.feed.rows)
    if input_shape is None:
        return None
    import numpy as np

    sizes = input_shape.replace("x", ",").split(",")
    good = all(size.strip().isdecimal() and len(size) < 10 for size in sizes)
    shape = (2, *(int(size) for size in sizes)) if good else ()
    if not 0 < math.prod(shape) < _MOST_VALUES or not good:
        raise UsageError(
            f"--input-shape {input_shape}: give positive whole numbers such as 3,32,32"
        )
    return [np.random.default_rng(0).random(shape, dtype=np.float32)]
