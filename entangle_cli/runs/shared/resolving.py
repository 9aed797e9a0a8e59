"""How images are fed to a model, and that all commands into one folder feed it alike.

What was probed on one data set is kept beside the activations, by the model's checksum: another
command may probe another set, whose samples could speak for another convention by chance.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.errors import DataError
from entangle_cli.project import Project
from entangle_cli.results import write_text
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.text import parse_json

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Probed, Resolved
    from entangle_cli.models import Model

FOLDER = "preprocessing"


def resolve(model: "Model", dataset: "Dataset", project: Project, run: RunOptions) -> "Resolved":
    """How to feed the data to the model: given, found beside or inside the file, or probed."""
    from entangle_cli.activations.logits import class_outputs
    from entangle_cli.datasets.probing import Resolved, resolve_preprocessing

    if not model.inputs:
        return Resolved(None, "arrays pass untouched")
    if dataset.kind == "arrays":
        return resolve_preprocessing(None, "", dataset, explicit=run.preprocess)

    def predict(batch: "np.ndarray") -> "np.ndarray | None":
        return class_outputs(model.run([batch], (), lambda name, values: None))

    spec = model.inputs[0]
    return resolve_preprocessing(
        spec.shape,
        spec.dtype,
        dataset,
        predict=predict if len(model.inputs) == 1 else None,
        seed=run.seed,
        explicit=run.preprocess,
        project=project.preprocess,
        embedded=model.metadata,
        model_path=model.path,
        probed=None if run.overwrite else _remembered(model, dataset, run),
    )


def remember(resolved: "Resolved", model: "Model", run: RunOptions) -> None:
    """Keep what was probed for the commands to come; what is there already stays."""
    path = _path(run.output, model)
    if resolved.probed is None or (path.exists() and not run.overwrite):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asdict(resolved.probed), indent=1) + "\n")


def _remembered(model: "Model", dataset: "Dataset", run: RunOptions) -> "Probed | None":
    """What was found on another data set, None where nothing was.

    On the same one probing finds the same again.
    """
    from entangle_cli.datasets.preprocessing import Preprocessing
    from entangle_cli.datasets.probing import Probed

    output = run.output if run.shard is None else run.shard.output(run.output)
    try:
        kept = Probed(**parse_json(_path(output, model).read_text(encoding="utf-8")))
        Preprocessing.from_json(kept.settings)
    except (OSError, ValueError, TypeError, DataError):
        return None
    return None if kept.fingerprint == dataset.fingerprint else kept


def _path(output: Path, model: "Model") -> Path:
    return output / FOLDER / f"{model.sha256[:16]}.json"
