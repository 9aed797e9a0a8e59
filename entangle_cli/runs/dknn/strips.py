"""The least credible inputs beside their nearest training inputs, as a report shows them."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from entangle_cli.measures.exemplars import LayerExemplars, exemplars
from entangle_cli.results import Row
from entangle_cli.runs.dknn.answer import explained, name_of
from entangle_cli.runs.dknn.run import Found, JudgedSet

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset

STRIPS = "dknn-strips.json"
# of every set
_INPUTS = 10
_NEIGHBORS = 5


class _Pictures:
    """Small images of a data set, each made once; None of each where it holds no images."""

    def __init__(self, dataset: "Dataset") -> None:
        self._dataset = dataset
        self._made: dict[int, str] = {}

    def of(self, indices: Sequence[int]) -> list[str | None]:
        """As ``data:`` addresses."""
        from entangle_cli.datasets.thumbnails import thumbnails

        if self._dataset.kind != "images":
            return [None] * len(indices)
        new = [index for index in dict.fromkeys(indices) if index not in self._made]
        self._made |= zip(new, thumbnails(self._dataset.images(new)), strict=True)
        return [self._made[index] for index in indices]


def strips(found: Found, explain: Sequence[int], worst: int) -> str:
    """JSON: the inputs asked for and the least credible of every set, with small images.

    Without images (arrays, tables) there are names and numbers alone.
    """
    chosen = explained(found, explain, max(worst, _INPUTS))
    training = _Pictures(found.train)
    inputs = [_strip(found, judged, index, training) for judged, rows in chosen for index in rows]
    return json.dumps({"inputs": inputs}, ensure_ascii=False) + "\n"


def _strip(found: Found, judged: JudgedSet, index: int, training: _Pictures) -> Row:
    evaluation, joint = judged.evaluation, judged.evaluation.joint
    names = found.train.class_names
    label = None if evaluation.labels is None else evaluation.labels[index]
    model = None if evaluation.model_prediction is None else evaluation.model_prediction[index]
    (image,) = _Pictures(judged.dataset).of([index])
    found_at = exemplars(judged.neighbors, found.train.labels, index, count=_NEIGHBORS)
    return {
        "set": judged.dataset.name,
        "index": int(index),
        "id": str(judged.dataset.ids[index]),
        "label": name_of(label, names),
        "model_prediction": name_of(model, names),
        "prediction": name_of(joint.prediction[index], names),
        "credibility": round(float(joint.credibility[index]), 4),
        "image": image,
        "layers": [_layer(found, one, training) for one in found_at],
    }


def _layer(found: Found, one: LayerExemplars, training: _Pictures) -> Row:
    names, ids = found.train.class_names, found.train.ids
    images = training.of([int(i) for i in one.indices])
    return {
        "layer": one.layer,
        "neighbors": [
            {
                "id": str(ids[int(i)]),
                "label": name_of(label, names),
                "distance": float(f"{distance:.3g}"),
                "image": image,
            }
            for i, label, distance, image in zip(
                one.indices, one.labels, one.distances, images, strict=True
            )
        ],
    }
