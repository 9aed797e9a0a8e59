"""``entangle score``: is this input from somewhere else."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entangle_cli.results import Row
    from entangle_cli.runs.score import Judged


class Lines(StrEnum):
    """What is printed: one line per input."""

    csv = "csv"
    jsonl = "jsonl"


def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model of the run.")],
    inputs: Annotated[
        str, typer.Argument(metavar="INPUTS", help="An image, a folder, or any data set.")
    ],
    fitted: Annotated[
        Path, typer.Option("--fitted", metavar="RUN", help="Output folder of 'entangle ood'.")
    ] = Path("entangle-out"),
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="NAME[@LAYER]",
            help="The detector that gives the verdict. Default: the first that the run has of "
            "fisher_knn, energy and msp.",
        ),
    ] = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Scores to print, by name or glob, repeatable or with commas. Default: all.",
        ),
    ] = None,
    format: Annotated[
        Lines, typer.Option("--format", help="One line per input, with a header or as JSON.")
    ] = Lines.csv,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
    limit: options.Limit = None,
    trust: options.Trust = False,
    sandbox: options.Sandbox = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Score new inputs with the detectors and thresholds of 'entangle ood'.

    Prints a line per input: the prediction, its credibility (where dknn_credibility is among the
    detectors), the verdict 'in' or 'out' by the stored threshold, and the outlier scores. Nothing
    is written.
    """
    import sys

    from entangle_cli.project import find_project
    from entangle_cli.runs.ood.fitted import read_fitted
    from entangle_cli.runs.score import run_score
    from entangle_cli.runs.shared.console import Terminal

    terminal = Terminal(quiet=quiet, verbose=verbose)
    run = options.RunOptions(
        output=fitted,
        batch_size=options.parse_batch_size(batch_size),
        device=device,
        limit=limit,
        trust=trust,
        sandbox=options.limits(sandbox, timeout, memory),
    )
    judged = run_score(
        model,
        inputs,
        read_fitted(fitted),
        find_project(),
        run,
        terminal,
        detectors=tuple(name for text in detectors or () for name in text.split(",") if name),
        by=by,
    )
    if judged.judge.threshold is None:
        terminal.warn(f"{judged.judge.name}, {judged.judge.place}: no threshold, so no verdict")
    lines = json_lines(judged) if format is Lines.jsonl else csv_lines(judged)
    for line in lines:
        sys.stdout.write(line)


def rows(judged: "Judged") -> "Iterator[tuple[Row, Row]]":
    """Of every input what is said of it, and its outlier scores by detector and place."""
    from entangle_cli.measures.ood.fitting import column_name

    outlying = judged.outlying()
    columns = {column_name(key): values.tolist() for key, values in judged.scores.items()}
    own = judged.scores[judged.judge.key]
    for i, identifier in enumerate(judged.dataset.ids):
        row: Row = {"index": i, "id": str(identifier)}
        if judged.prediction is not None:
            row["prediction"] = int(judged.prediction[i])
        if judged.class_names is not None and judged.prediction is not None:
            row["class"] = judged.class_names[int(judged.prediction[i])]
        if judged.credibility is not None:
            row["credibility"] = float(judged.credibility[i])
        row["verdict"] = None if outlying is None else ("out" if outlying[i] else "in")
        row |= {"by": column_name(judged.judge.key), "score": float(own[i])}
        row["threshold"] = judged.judge.threshold
        yield row, {name: values[i] for name, values in columns.items()}


def json_lines(judged: "Judged") -> "Iterator[str]":
    """A JSON object per line; a score that is not finite is null."""
    import json

    from entangle_cli.results import finite

    for row, scores in rows(judged):
        yield json.dumps(finite(row | {"scores": scores}), allow_nan=False) + "\n"


def csv_lines(judged: "Judged") -> "Iterator[str]":
    """A header and a line per input, a column per detector."""
    from entangle_cli.results import rows_to_csv

    for number, (row, scores) in enumerate(rows(judged)):
        header, _, line = rows_to_csv([row | scores]).partition("\n")
        yield line if number else f"{header}\n{line}"
