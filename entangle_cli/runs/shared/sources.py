"""Which words of a command line are models and which is the data."""

from collections.abc import Sequence
from pathlib import Path

from entangle_cli.errors import UsageError
from entangle_cli.models.series import Checkpoint, looks_like_model, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.runs.shared.console import Terminal


def split_sources(sources: Sequence[str], project: Project) -> tuple[list[Path], str]:
    """The model files and the data reference behind the words of the command line.

    The last word is the data unless it names a model; what is missing comes from entangle.toml.
    """
    names = list(sources)
    data = None
    if names and not names_model(names[-1], project):
        data = names.pop()
    for name in names:
        if name in project.data:
            raise UsageError(f"{name}: a data set; models come first, then one data set")
    models = [path for name in names for path in project.model_paths(name)]
    if not names and data is None:
        models = project.default_models()
        if not models:
            raise UsageError(
                "nothing to measure: give MODEL... DATA, or name a model in entangle.toml"
            )
    if data is None:
        if "test" not in project.data:
            raise UsageError(
                "no data given: put a folder or file after the model, or name a data set 'test' "
                "in entangle.toml"
            )
        data = "test"
    return models, data


def choose_checkpoint(model: str | None, project: Project, terminal: Terminal) -> Checkpoint:
    """The one model that was named, or the last step of a series."""
    paths = project.default_models() if model is None else project.model_paths(model)
    if not paths:
        raise UsageError("no model given: put one first, or name one in entangle.toml")
    checkpoints = order_checkpoints(paths)
    if len(checkpoints) > 1:
        last = checkpoints[-1].path.name
        terminal.note(f"{len(checkpoints)} checkpoints: took the last, {last}")
    return checkpoints[-1]


def names_model(word: str, project: Project) -> bool:
    """Whether a word of the command line stands for a model file (or a glob of them)."""
    if word in project.data:
        return False
    path = Path(word)
    if word in project.models:
        return True
    if path.is_dir():
        return False
    return looks_like_model(path)


def is_stored(reference: str) -> bool:
    """Whether a data reference is an activation file written by this tool."""
    path = Path(reference)
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    from entangle_cli.activations.file import is_activation_file

    return is_activation_file(path)
