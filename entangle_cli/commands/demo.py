"""``entangle demo``: a project with checkpoints and data, made on the spot, and measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import options

if TYPE_CHECKING:
    from entangle_cli.runs.shared.console import Terminal

STEPS = (0, 30, 100, 300, 1000)
LETTERS = 300
# a few of each kind: a first look, not a table of sixty rows
DETECTORS = ("msp", "energy", "vim", "fisher_*", "dknn_credibility")
PROJECT = """\
# Written by `entangle demo`. Paths are relative to this file.
model = "checkpoints/digits-*.onnx"

[data]
train = "digits@train"
test = "digits@test"
holdout = "digits@holdout"
letters = "data/letters"
"""
NEXT = """
Try next, in this folder:

  entangle measure 'checkpoints/digits-step*.pt' test    the same checkpoints as TorchScript
  entangle measure test                                  the raw data alone
  entangle dknn --calib holdout --worst 3                the least credible predictions, explained
  entangle ood --in test --out letters                   every out-of-distribution detector
  entangle score checkpoints/digits-step1000.onnx data/letters    verdicts, line by line
  entangle between test letters holdout                  how far apart two data sets are
  entangle layers checkpoints/digits-step1000.onnx       every layer that can be measured
  entangle inspect entangle-out                          what was written
  entangle report                                        the page again, after any of these
"""


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make the project in.")] = Path(),
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a small network on handwritten digits, save checkpoints, measure them. Offline."""
    from entangle_cli.commands.dknn import dknn_and_show
    from entangle_cli.commands.measure import measure_and_show
    from entangle_cli.commands.ood import ood_and_show
    from entangle_cli.project import read_project
    from entangle_cli.report.runs import read_runs
    from entangle_cli.runs.dknn.run import DkNNOptions
    from entangle_cli.runs.ood.data import OODData
    from entangle_cli.runs.ood.found import OODOptions
    from entangle_cli.runs.report import write_page
    from entangle_cli.runs.shared.console import Terminal

    terminal = Terminal(quiet=quiet)
    project = read_project(make_project(folder, seed, overwrite=overwrite, terminal=terminal))
    run = options.RunOptions(output=folder / "entangle-out", seed=seed)
    dknn_and_show(
        None,
        ("train", "holdout", ["test", "letters"]),
        project=project,
        run=run,
        asked=DkNNOptions(),
        terminal=terminal,
    )
    ood_and_show(
        None,
        OODData("test", ("letters",), train="train", calib="holdout"),
        project=project,
        run=run,
        asked=OODOptions(detectors=DETECTORS),
        terminal=terminal,
    )
    measure_and_show([], project=project, run=run, terminal=terminal)
    page = folder / "report.html"
    write_page(read_runs([run.output]), page, "Entanglement of a small network")
    terminal.note(f"wrote {page}: open it in a browser")
    where = "this folder" if folder == Path() else str(folder)
    for line in NEXT.replace("this folder", where).splitlines():
        terminal.note(line)


def make_project(folder: Path, seed: int, *, overwrite: bool, terminal: "Terminal") -> Path:
    """Checkpoints, letters and ``entangle.toml`` in ``folder``; returns the path of the latter.

    Raises:
        UsageError: the folder holds another project.
    """
    import tempfile

    from entangle_cli.datasets.formats.letters import write_letters
    from entangle_cli.errors import UsageError
    from entangle_cli.project import FILE_NAME

    project_file = folder / FILE_NAME
    if project_file.exists() and not overwrite and project_file.read_text() != PROJECT:
        raise UsageError(
            f"{project_file}: there is a project already; run the demo in another folder "
            "(entangle demo FOLDER), or give --overwrite"
        )
    try:
        # before minutes of training, not after
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise UsageError(f"{folder}: a file, not a folder; give another") from None
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); give another") from None
    terminal.note(f"training a small network on scikit-learn's digits, {STEPS[-1]} steps")
    _train_checkpoints(folder / "checkpoints", seed, terminal)
    write_letters(folder / "data" / "letters", LETTERS, seed=seed)
    project_file.write_text(PROJECT)
    terminal.note(f"wrote {project_file}, {len(STEPS)} checkpoints as ONNX and as TorchScript")
    return project_file


def _train_checkpoints(folder: Path, seed: int, terminal: "Terminal") -> None:
    import numpy as np
    import torch

    from entangle_cli.datasets import open_dataset
    from entangle_cli.training.checkpoints import export
    from entangle_cli.training.loop import train
    from entangle_cli.training.networks import DigitsNet

    data = open_dataset("digits@train")
    pixels = np.stack(data.images(np.arange(len(data))))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DigitsNet()

    def save(step: int) -> None:
        if step in STEPS:
            stem = folder / f"digits-step{step:04d}"
            export(network, images[:2], stem, {"scale": 255.0, "mean": [0.0], "std": [1.0]})
        terminal.advance()

    terminal.start("training", STEPS[-1])
    labels = torch.from_numpy(data.labels)
    train(network, images, labels, steps=STEPS[-1], before_step=save, seed=seed)
    terminal.finish()
