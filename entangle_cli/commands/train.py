"""``entangle train``: a network with mixed or separated hidden layers, with checkpoints."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options
from entangle_cli.errors import UsageError


class Network(StrEnum):
    """What is trained."""

    cnn = "cnn"
    mlp = "mlp"
    digits = "digits"
    resnet15 = "resnet15"


class Schedule(StrEnum):
    """How the learning rate goes on."""

    constant = "constant"
    linear = "linear"


def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Training images with labels: a path or a name.")
    ],
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="DATA", help="Test data for a row at each checkpoint."),
    ] = None,
    network: Annotated[
        Network, typer.Option("--network", help="What is trained; sizes follow the data.")
    ] = Network.cnn,
    alpha: Annotated[
        float,
        typer.Option(
            metavar="A",
            help="Weight of the soft nearest neighbor loss of hidden layers: below 0 mixes the "
            "classes, above 0 separates them.",
        ),
    ] = 0.0,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="GLOB",
            help="Hidden layers of the loss by name or glob, as conv1>relu; repeatable. "
            "Default: all after their activation, blocks of a ResNet.",
        ),
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            metavar="minimum|learned|median|T",
            help="Of the loss: where it is lowest, learned per layer, 0.03 times the median "
            "distance, or a number.",
        ),
    ] = "minimum",
    initial_temperature: Annotated[
        float | None,
        typer.Option(
            "--initial-temperature",
            metavar="T",
            help="Where learned temperatures begin. Default: by each layer's distances.",
        ),
    ] = None,
    metric: options.MetricOption = options.Metric.euclidean,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of the optimizer.")] = 1000,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=2, metavar="N", help="Samples per step.")
    ] = 128,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Of Adam.")
    ] = 1e-3,
    schedule: Annotated[
        Schedule,
        typer.Option("--schedule", help="Of the learning rate: as it is, or down to 0 at the end."),
    ] = Schedule.constant,
    checkpoints: Annotated[
        str,
        typer.Option(
            metavar="N|STEP,STEP,...", help="How many, evenly from step 0 to the last, or which."
        ),
    ] = "5",
    output: options.Output = Path("entangle-train"),
    device: options.Device = "cpu",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a network with cross-entropy plus a multiple of its hidden layers' entanglement.

    Prints a row per checkpoint; the checkpoints, as ONNX and TorchScript, are ready for 'entangle
    measure DIR/checkpoints/*.onnx DATA'. Stopped, the same command resumes.
    """
    from entangle_cli.project import find_project
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.train import parse_temperature, run_train
    from entangle_cli.training.settings import TrainingSettings

    terminal = Terminal(quiet=quiet, verbose=verbose)
    if initial_temperature is not None and temperature != "learned":
        raise UsageError(f"--initial-temperature with --temperature {temperature}; give learned")
    settings = TrainingSettings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        alpha=alpha,
        layers=tuple(layers or ()),
        temperature=parse_temperature(temperature),
        metric=metric.value,
        initial_temperature=initial_temperature,
        seed=seed,
        schedule=schedule.value,
    )
    run = options.RunOptions(
        output=output, device=device, limit=limit, seed=seed, overwrite=overwrite
    )
    result = run_train(
        (data, test), network.value, settings, checkpoints, find_project(), run, terminal
    )
    written = result.write(output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    from entangle_cli.runs.shared.tables import plain_table

    show(result, options.chosen_format(format, json), plain_table(result.rows))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
