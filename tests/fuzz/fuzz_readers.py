"""Every reader of the package, with the samples that are mutated for it."""

import importlib
from pathlib import Path

import numpy as np

from tests.fuzz import fuzz_models, fuzz_samples, fuzz_stores
from tests.fuzz.fuzz_pool import Reader, Sample


def read_data(folder: Path, sample: Sample) -> None:
    """Open a data set, read some of its samples, and hold what it promises against them."""
    from entangle_cli.datasets import open_dataset

    glued = sample.argument[:1] in "@:."
    where = f"{folder}{sample.argument.lstrip('.')}" if glued else f"{folder}/{sample.argument}"
    data = open_dataset(where)
    count = len(data)
    rows = np.unique([0, count // 2, count - 1])
    if data.kind == "images":
        for image in data.images(rows):
            assert image.ndim == 3
            assert image.size
            assert image.dtype == np.uint8 or (image.dtype == np.float32 and 0 <= image.min())
    else:
        for values in data.arrays(rows).values():
            assert values.ndim == 0 or len(values) == len(rows)
    if data.labels is not None:
        assert data.labels.dtype == np.int64
        assert data.labels.shape == (count,)
        assert data.labels.min() >= 0
    if data.class_names is not None:
        assert all(isinstance(name, str) for name in data.class_names)
        assert data.labels is None or data.labels.max() < len(data.class_names)
    assert all(isinstance(one, str) for one in (*data.ids[:3], *data.notes, data.fingerprint))


def read_sidecar(folder: Path, sample: Sample) -> None:
    """Settings beside and inside a model, and one image prepared as they say."""
    from entangle_cli.datasets import preprocessing, sidecars

    model = folder / "net.onnx"
    if sample.argument == "entangle.json":
        text = (folder / sample.argument).read_text("utf-8", "surrogateescape")
        found = sidecars.read_embedded({"entangle.json": text}, model)
    else:
        found = sidecars.read_sidecar(model) or sidecars.read_config(model)
    if found is not None:
        whole = preprocessing.Preprocessing(**found.fields)
        if whole.size is None or np.prod(whole.size) < 10**6:
            whole.apply([fuzz_samples.COLORS[0]])


def read_project(folder: Path, sample: Sample) -> None:
    """A project and what its names stand for."""
    from entangle_cli.project import find_project

    project = find_project(folder)
    project.default_models()
    for name in list(project.data)[:20]:
        assert isinstance(project.data_reference(name), str)
    for name in list(project.models)[:20]:
        project.model_paths(name)


def patterns() -> list[Sample]:
    """A file of layer patterns."""
    return [Sample({"layers.txt": b"# chosen\nconv*\nfc[0-9]\nconv#2>relu\n"}, "layers.txt")]


def read_patterns(folder: Path, sample: Sample) -> None:
    """Which layers the patterns of a file mean."""
    from entangle_cli.models import Layer
    from entangle_cli.models.patterns import select_layers

    names = ("conv1", "conv#2>relu", "fc1", "fc2")
    layers = [Layer(name, "x", True, (2,)) for name in names]
    select_layers(layers, [f"@{folder / sample.argument}"], [])


def _torch() -> None:
    for name in ("torch", "onnx", "onnxruntime", "entangle_cli.models.torchscript.model"):
        importlib.import_module(name)
    for name in ("onnx.model", "safety", "formats"):
        importlib.import_module(f"entangle_cli.models.{name}")
    importlib.import_module("entangle_cli.training.state")


def _numbers() -> None:
    for name in ("arrays", "cifar", "hdf5", "idx", "image_folder", "npy", "npz", "svhn"):
        importlib.import_module(f"entangle_cli.datasets.formats.{name}")
    importlib.import_module("entangle_cli.datasets.preprocessing")
    # less than what counts as a hang here
    importlib.import_module("entangle_cli.datasets.formats.hdf5").SECONDS = 4


# native code that may go on damaged after a mutant has a process for one or a few; those are slow
LIGHT = (
    Reader("idx", fuzz_samples.idx, read_data, prepare=_numbers),
    Reader("npy", fuzz_samples.npys, read_data, prepare=_numbers),
    Reader("npz", fuzz_samples.npzs, read_data, prepare=_numbers),
    Reader("hdf5", fuzz_samples.hdf5s, read_data, per_fork=5, share=0.1, prepare=_numbers),
    Reader("table", fuzz_samples.tables, read_data, prepare=_numbers),
    Reader("image folder", fuzz_samples.folders, read_data, prepare=_numbers),
    Reader("zip", fuzz_samples.zips, read_data, prepare=_numbers),
    Reader("image", fuzz_samples.images, read_data, per_fork=10, prepare=_numbers),
    Reader("mat", fuzz_samples.matlab, read_data, prepare=_numbers),
    Reader("cifar", fuzz_samples.cifar, read_data, prepare=_numbers),
    Reader("settings", fuzz_samples.sidecars, read_sidecar, prepare=_numbers),
    Reader("entangle.toml", fuzz_samples.projects, read_project),
    Reader("layer patterns", patterns, read_patterns),
    Reader("store", fuzz_stores.stores, fuzz_stores.read_store, per_fork=20),
    Reader(
        "sealed store",
        fuzz_stores.stores,
        fuzz_stores.read_resealed,
        per_fork=5,
        share=0.1,
        sealed=fuzz_stores.resealed,
    ),
)
HEAVY = (
    Reader("neighbor lists", fuzz_stores.neighbor_lists, fuzz_stores.read_neighbors),
    Reader("fitted.npz", fuzz_stores.fitted, fuzz_stores.read_fitted_run),
    Reader("TorchScript gate", fuzz_models.torchscript_files, fuzz_models.read_gate),
    Reader(
        "TorchScript",
        fuzz_models.torchscript_files,
        fuzz_models.load_program,
        per_fork=1,
        share=0.02,
        prepare=_torch,
    ),
    Reader(
        "ONNX",
        fuzz_models.onnx_files,
        fuzz_models.read_model,
        per_fork=1,
        share=0.1,
        prepare=_torch,
    ),
    Reader(
        "training state",
        fuzz_models.training_states,
        fuzz_models.read_training_state,
        per_fork=5,
        share=0.3,
        prepare=_torch,
    ),
)
READERS = {reader.name: reader for reader in (*LIGHT, *HEAVY)}
