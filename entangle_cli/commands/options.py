"""The options that several commands share, declared once."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entangle_cli.errors import UsageError
from entangle_cli.runs.shared.run_options import Format as Format
from entangle_cli.runs.shared.run_options import RunOptions as RunOptions

if TYPE_CHECKING:
    from entangle_cli.models.sandbox.confinement import Limits


class Metric(StrEnum):
    """How far apart two points are."""

    euclidean = "euclidean"
    cosine = "cosine"


class Reduce(StrEnum):
    """How a feature map becomes a point."""

    flatten = "flatten"
    mean = "mean"
    max = "max"
    none = "none"


class Precision(StrEnum):
    """What activations are stored as."""

    float32 = "float32"
    float16 = "float16"


class Knn(StrEnum):
    """How nearest neighbors are found."""

    auto = "auto"
    exact = "exact"
    approximate = "approximate"


class PValue(StrEnum):
    """Which p-value a DkNN reports."""

    paper = "paper"
    conformal = "conformal"
    smoothed = "smoothed"


class Zeros(StrEnum):
    """What happens to calibration scores of zero."""

    keep = "keep"
    trim = "trim"


Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything written.")
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        metavar="GLOB",
        help="Layers by name or glob; repeatable; 'all'; 'input' for the raw data; '@file' for a "
        "list. Default: about 20 rows, the ends of blocks.",
    ),
]
ExcludeLayers = Annotated[
    list[str] | None,
    typer.Option("--exclude-layers", metavar="GLOB", help="Layers to leave out; repeatable."),
]
MetricOption = Annotated[Metric, typer.Option("--metric", help="Distance between points.")]
ReduceOption = Annotated[
    Reduce, typer.Option("--reduce", help="How feature maps become points: over space or not.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="PRESET|FILE",
        help="unit, raw, signed, imagenet, cifar10, mnist, none, or a JSON file. "
        "Default: found beside or inside the model, else probed on labelled samples.",
    ),
]
BatchSize = Annotated[
    str, typer.Option("--batch-size", "-b", metavar="auto|N", help="Samples per model call.")
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="Where the work runs."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", "-L", min=1, metavar="N", help="Use N samples only, class balance kept."
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="Seed of everything drawn at random.")
]
Dtype = Annotated[Precision, typer.Option("--dtype", help="Number type of stored activations.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object (= --format json).")]
FormatOption = Annotated[Format, typer.Option("--format", help="What is printed on stdout.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be done, its size and about its time; write nothing.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start again instead of resuming or reusing.")
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Skip the safety gate for a TorchScript file you made yourself."),
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Open and run the model in a process that can neither write, start programs nor "
        "connect; slower, on the CPU only.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="SECONDS",
        help="Most time for one call of the model; implies --sandbox.  [default: 600 in a sandbox]",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        min=0.1,
        metavar="GIB",
        help="Most memory for the model; implies --sandbox.  [default: the machine's]",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="i/n|slurm",
        help="Do only share i of n, counted from 1; 'slurm': this task of a job array. "
        "'entangle merge' puts the shares together.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors on stderr.")]


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """What a command that runs a model on data was given, from its parameters by name.

    Raises:
        UsageError: a batch size that is none.
    """
    plain = ("output", "preprocess", "device", "limit", "seed", "overwrite", "trust")
    return RunOptions(
        **{name: given[name] for name in plain},
        layers=tuple(given["layers"] or ()),
        exclude_layers=tuple(given["exclude_layers"] or ()),
        reduce=given["reduce"].value,
        dtype=given["dtype"].value if "dtype" in given else "float32",
        batch_size=parse_batch_size(given["batch_size"]),
        sandbox=limits(given["sandbox"], given["timeout"], given["memory"]),
    )


def limits(sandbox: bool, timeout: float | None, memory: float | None) -> "Limits | None":
    """The limits of a sandbox, None where none is asked for."""
    if not sandbox and timeout is None and memory is None:
        return None
    from entangle_cli.models.sandbox.confinement import Limits

    given: dict[str, Any] = {} if timeout is None else {"seconds": timeout}
    if memory is not None:
        given["memory"] = int(memory * 2**30)
    return Limits(**given)


def parse_batch_size(text: str) -> int | None:
    """The number behind ``--batch-size``, None for ``auto``."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"--batch-size {text}: give 'auto' or a positive number")
    return int(text)


def chosen_format(format: Format, json: bool) -> Format:
    """``--json`` is short for ``--format json``."""
    return Format.json if json else format
