"""How images should be fed to a model: as somebody says, else as its accuracy shows.

The order: command line, ``[preprocess]`` of entangle.toml, ``<model>.preprocess.json``, what is
embedded in the model, timm's or Hugging Face's configuration beside it, what was probed before, and
at last probing: every usual convention is tried on labelled samples, and the one with the best
accuracy is taken.

Probing goes in rounds: all candidates on 256 samples, the best few on 1,000, and where two are
still too close to call, both on 4,000. A tie goes to the simpler convention (`presets` has the
order). An accuracy that guessing would reach proves nothing; then `unit` is taken and said so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from entangle_cli.datasets.candidates import Candidate, candidates_for, checked
from entangle_cli.datasets.contest import hold_contest, scored
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.geometry import ImageSizes, Shape
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.datasets.presets import PRESETS
from entangle_cli.datasets.sampling import stratified_rows
from entangle_cli.datasets.settings import parse_settings, preset_fields
from entangle_cli.datasets.sidecars import (
    EMBEDDED_NAME,
    Found,
    read_config,
    read_embedded,
    read_settings_file,
    read_sidecar,
)

Predict = Callable[[np.ndarray], np.ndarray | None]
_SIZE_SAMPLE = 64


class Given(TypedDict, total=False):
    """What is known before any probing, the strongest first; each may be None.

    ``explicit`` is a preset's name, a JSON file's path, a table of settings or a finished
    `Preprocessing`; ``project`` a table; ``embedded`` the text found in the model, or all its
    texts by name. Files are looked for beside ``model_path``. ``probed`` is what was found on
    another data set.
    """

    explicit: "str | Mapping[str, Any] | Preprocessing | None"
    project: "Mapping[str, Any] | None"
    embedded: "str | Mapping[str, str] | None"
    model_path: "Path | None"
    probed: "Probed | None"


@dataclass(frozen=True)
class Probed:
    """The convention that won on a data set, and its settings as a JSON object."""

    name: str
    settings: Mapping[str, Any]
    data: str
    fingerprint: str


@dataclass(frozen=True)
class Resolved:
    """The preprocessing to use, where it comes from, and how well it does.

    ``preprocessing`` is None for data sets of arrays, which pass untouched.
    ``accuracy_on_sample`` is the model's on the labelled samples tried, None where nothing could
    be tried; ``notes`` says what a person should know; ``probed`` is what a contest has found.
    """

    preprocessing: Preprocessing | None
    source: str
    accuracy_on_sample: float | None = None
    notes: tuple[str, ...] = ()
    probed: Probed | None = None


def resolve_preprocessing(
    shape: Shape | None,
    dtype: str,
    dataset: Dataset,
    *,
    predict: Predict | None = None,
    seed: int = 0,
    **given: Unpack[Given],
) -> Resolved:
    """How to feed ``dataset`` to a model whose input has this shape and dtype.

    ``predict`` returns the class scores ``(n, classes)`` of an input batch ``(n, ...)``, None for
    a model that has none.

    Raises:
        DataError: settings that make no sense or do not fit the model, or a model input that no
            image fills.
    """
    found = _first_given(given)
    if dataset.kind == "arrays":
        notes = ("arrays pass untouched: the preprocessing is not used",) if found else ()
        return Resolved(None, "arrays pass untouched", notes=notes)
    known = given.get("probed") if found is None else None
    if isinstance(found, Preprocessing):
        candidates = [checked(Candidate("given", found), shape)]
        source = "command line"
    elif known is not None:
        settings = Preprocessing.from_json(known.settings)
        candidates = [checked(Candidate(known.name, settings), shape)]
        source = f"probed on {known.data}: {known.name}"
    else:
        sizes = ImageSizes.of(dataset.images(_spread(len(dataset), _SIZE_SAMPLE)))
        fields = {} if found is None else found.fields
        candidates = candidates_for(shape, _numpy_dtype(dtype), sizes, fields)
        source = "probed" if found is None else found.source
    return _chosen(candidates, source, dataset, predict, seed)


def _chosen(
    candidates: list[Candidate], source: str, dataset: Dataset, predict: Predict | None, seed: int
) -> Resolved:
    first = candidates[0].preprocessing
    unverified = _why_unverified(dataset, predict)
    if unverified is not None:
        return _unverified(candidates, source, unverified)
    rows = stratified_rows(dataset.labels, len(dataset), min(4000, len(dataset)), seed)
    rows = np.random.default_rng(seed).permutation(rows)
    if len(candidates) == 1:
        score = scored(candidates[0], dataset, predict, rows[:1000])
        return Resolved(first, source, score.accuracy, _far_mean(first))
    outcome = hold_contest(candidates, dataset, predict, rows)
    if not outcome.convincing:
        return _unverified(candidates, source, outcome.summary)
    best = outcome.best
    how = source if source == "probed" else f"{source}, layout probed"
    return Resolved(
        best.candidate.preprocessing,
        f"{how}: {best.candidate.name}",
        best.accuracy,
        (*_far_mean(best.candidate.preprocessing), outcome.summary),
        _probed(best.candidate, dataset) if source == "probed" else None,
    )


def _probed(winner: Candidate, dataset: Dataset) -> Probed:
    settings = winner.preprocessing.to_json()
    return Probed(winner.name, settings, dataset.name, dataset.fingerprint)


def _unverified(candidates: list[Candidate], source: str, reason: str) -> Resolved:
    chosen = candidates[0].preprocessing
    if source != "probed" and len(candidates) == 1:
        return Resolved(chosen, source, None, _far_mean(chosen))
    return Resolved(
        chosen,
        f"{'assumed' if source == 'probed' else source}: {candidates[0].name}",
        None,
        (
            f"preprocessing not verified ({reason}): {chosen.describe()} is an assumption; "
            "give --preprocess if it is another",
        ),
    )


def _why_unverified(dataset: Dataset, predict: Predict | None) -> str | None:
    if dataset.labels is None:
        return "the data set has no labels"
    return None if predict is not None else "the model gives no class scores"


def _first_given(given: Given) -> Found | Preprocessing | None:
    """The strongest that is there; what is weaker is not even read."""
    explicit, project = given.get("explicit"), given.get("project")
    if isinstance(explicit, Preprocessing):
        return explicit
    if isinstance(explicit, str) and explicit != "auto":
        return _named(explicit)
    if isinstance(explicit, Mapping):
        return Found(parse_settings(explicit, "--preprocess"), "command line")
    if project:
        return Found(parse_settings(project, "entangle.toml: preprocess"), "entangle.toml")
    path, embedded = given.get("model_path"), given.get("embedded") or {}
    found = None if path is None else read_sidecar(Path(path))
    if found is None:
        texts = {EMBEDDED_NAME: embedded} if isinstance(embedded, str) else embedded
        found = read_embedded(texts, path or "model")
    return read_config(Path(path)) if found is None and path is not None else found


def _named(text: str) -> Found:
    """A preset by name, or a JSON file by path."""
    if text in PRESETS or not (text.endswith(".json") or Path(text).is_file()):
        return Found(preset_fields(text, "--preprocess"), f"command line: {text}")
    return read_settings_file(Path(text))


def _far_mean(preprocessing: Preprocessing) -> tuple[str, ...]:
    """A note where mean is meant for pixels 0..255 but pixels are scaled to 0..1."""
    top = 255.0 / (preprocessing.scale or 1.0)
    if max(preprocessing.mean) <= 1.5 * top:
        return ()
    return (
        f"mean {max(preprocessing.mean):g} lies outside the pixel range 0-{top:g}; "
        "for a mean of pixels 0-255 set scale = 1",
    )


def _numpy_dtype(dtype: str) -> str:
    """The type that NumPy can hold for a model's input type; bfloat16 is fed as float32."""
    name = dtype.removeprefix("tensor(").removesuffix(")").removeprefix("torch.")
    name = {"float": "float32", "double": "float64", "half": "float16"}.get(name, name)
    try:
        return np.dtype(name).name
    except TypeError:
        return "float32"


def _spread(total: int, n: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(n, total)).astype(np.int64))
