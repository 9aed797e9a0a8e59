"""The result of ``entangle dknn``: rows, files, tables, explanations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from entangle_cli.errors import UsageError
from entangle_cli.measures.exemplars import LayerExemplars, exemplars
from entangle_cli.measures.reliability import ReliabilityBin, reliability
from entangle_cli.results import Result, Row
from entangle_cli.runs.dknn.run import RELIABILITY, Found, JudgedSet
from entangle_cli.runs.shared.columns import label_column
from entangle_cli.runs.shared.tables import new_table, number, percent, plain_text
from entangle_cli.text import file_stem

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

# training points named per layer in an explanation
_SHOWN = 5
# inputs of every set, the least credible first, whose exemplars are always written
_ALWAYS = 10


def answer(found: Found, *, explain: Sequence[int], worst: int) -> Result:
    """Everything that is written or printed as JSON and CSV."""
    result = Result(command="dknn", models=[found.model], provenance=dict(found.provenance))
    result.notes = list(dict.fromkeys(found.notes))
    bins = {}
    for judged in found.sets:
        name = judged.dataset.name
        result.rows.append({"set": name} | judged.evaluation.summary())
        result.columns[f"dknn-{file_stem(name)}"] = input_columns(judged)
        if judged.evaluation.correct is not None:
            bins[name] = [vars(one) for one in reliability_of(judged)]
    result.provenance["reliability"] = bins
    result.tables[f"dknn-{RELIABILITY}"] = [
        {"set": name} | one for name, rows in bins.items() for one in rows
    ]
    for judged, rows in explained(found, explain, max(worst, _ALWAYS)):
        stem = f"dknn-{file_stem(judged.dataset.name)}-exemplars"
        result.tables[stem] = [row for index in rows for row in exemplar_rows(found, judged, index)]
    return result


def reliability_of(judged: JudgedSet) -> tuple[ReliabilityBin, ...]:
    """Accuracy by credibility over the labeled inputs of a set."""
    evaluation = judged.evaluation
    labeled = evaluation.labeled
    return reliability(evaluation.joint.credibility[labeled], evaluation.correct[labeled])


def input_columns(judged: JudgedSet) -> dict[str, Sequence[Any]]:
    """A row per input, with each layer's own credibility and number of distinct labels.

    A label that is not known, and the prediction of a model that has none, are empty.
    """
    evaluation, joint = judged.evaluation, judged.evaluation.joint
    count = len(joint.prediction)
    columns = {
        "index": range(count),
        "id": judged.dataset.ids,
        "label": label_column(evaluation.labels, count),
        "model_prediction": label_column(evaluation.model_prediction, count),
        "prediction": joint.prediction,
        "credibility": joint.credibility,
        "confidence": joint.confidence,
        "nonconformity": joint.nonconformity,
    }
    for layer, alone in evaluation.layers.items():
        columns[f"credibility {layer}"] = alone.credibility
        columns[f"distinct {layer}"] = evaluation.distinct[layer]
    return columns


def explained(
    found: Found, explain: Sequence[int], worst: int
) -> list[tuple[JudgedSet, list[int]]]:
    """The inputs to explain, per set.

    Raises:
        UsageError: the first set has no input of that index.
    """
    first = found.sets[0]
    for index in explain:
        if not 0 <= index < len(first.dataset):
            raise UsageError(
                f"--explain {index}: {first.dataset.name} has inputs 0 to {len(first.dataset) - 1}"
            )
    chosen = []
    for judged in found.sets:
        order = np.argsort(judged.evaluation.joint.credibility, kind="stable")[:worst]
        rows = [*(explain if judged is first else ()), *order.tolist()]
        if rows:
            chosen.append((judged, list(dict.fromkeys(rows))))
    return chosen


def exemplar_rows(found: Found, judged: JudgedSet, index: int) -> list[Row]:
    """The nearest training points of one input at each layer, a row each."""
    return [
        {
            "index": index,
            "layer": one.layer,
            "rank": rank,
            "train_index": int(one.indices[rank]),
            "train_id": str(found.train.ids[int(one.indices[rank])]),
            "train_label": int(one.labels[rank]),
            "distance": float(one.distances[rank]),
        }
        for one in exemplars(judged.neighbors, found.train.labels, index)
        for rank in range(len(one.indices))
    ]


def tables(found: Found, explain: Sequence[int], worst: int) -> "Group":
    """The sets, accuracy by credibility, and the explanations asked for."""
    from rich.console import Group

    parts = [_sets(found)]
    parts += [_reliability(s) for s in found.sets if s.evaluation.correct is not None]
    for judged, rows in explained(found, explain, worst):
        parts += [_explanation(found, judged, index) for index in rows]
    return Group(*parts)


def _sets(found: Found) -> "Table":
    table = new_table(f"DkNN of {found.model['model']}: {found.calibration.joint.describe()}")
    table.add_column("set")
    for heading in ("n", "model accuracy", "DkNN accuracy", "credibility", "confidence"):
        table.add_column(heading, justify="right")
    for judged in found.sets:
        means = judged.evaluation.summary()
        table.add_row(
            plain_text(judged.dataset.name),
            str(means["n"]),
            percent(means["model_accuracy"]),
            percent(means["accuracy"]),
            number(means["credibility"]),
            number(means["confidence"]),
        )
    return table


def _reliability(judged: JudgedSet) -> "Table":
    table = new_table(f"{judged.dataset.name}: accuracy by credibility")
    for heading in ("credibility", "inputs", "accuracy"):
        table.add_column(heading, justify="right")
    for one in reliability_of(judged):
        table.add_row(f"{one.low:.1f}-{one.high:.1f}", str(one.count), percent(one.accuracy))
    return table


def explanation_title(found: Found, judged: JudgedSet, index: int) -> str:
    """What is said of one input: its label, both predictions, credibility and confidence."""
    joint, evaluation = judged.evaluation.joint, judged.evaluation
    names = found.train.class_names
    label = None if evaluation.labels is None else evaluation.labels[index]
    model = None if evaluation.model_prediction is None else evaluation.model_prediction[index]
    return (
        f"{judged.dataset.name}[{index}] {judged.dataset.ids[index]}: label "
        f"{name_of(label, names)}, model {name_of(model, names)}, DkNN "
        f"{name_of(joint.prediction[index], names)}, credibility "
        f"{joint.credibility[index]:.4f}, confidence {joint.confidence[index]:.4f}"
    )


def _explanation(found: Found, judged: JudgedSet, index: int) -> "Table":
    names = found.train.class_names
    table = new_table(explanation_title(found, judged, index))
    for heading in ("layer", "labels among the neighbors", "nearest training inputs"):
        table.add_column(heading)
    for one in exemplars(judged.neighbors, found.train.labels, index, count=_SHOWN):
        counts = ", ".join(f"{name_of(value, names)} x {n}" for value, n in one.label_counts)
        table.add_row(plain_text(one.layer), plain_text(counts), plain_text(_nearest(found, one)))
    return table


def _nearest(found: Found, one: LayerExemplars) -> str:
    names, ids = found.train.class_names, found.train.ids
    return ", ".join(
        f"{ids[int(i)]} ({name_of(label, names)}, {distance:.3g})"
        for i, label, distance in zip(one.indices, one.labels, one.distances, strict=True)
    )


def name_of(label: int | np.integer | None, names: tuple[str, ...] | None) -> str:
    """A class by its name, by its number where it has none."""
    if label is None or label < 0:
        return "unknown"
    return names[label] if names is not None and label < len(names) else str(label)
