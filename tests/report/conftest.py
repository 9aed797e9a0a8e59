"""A small run folder with every kind of result, written as the commands write them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)


@pytest.fixture
def write_run(tmp_path):
    """``write_run(name, label)``: a run whose names (sets, layers, classes) contain ``label``."""

    def write(name: str = "run", label: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        layers = [f"conv{label}", f"fc{label}"]
        _json(folder, "measure", _measure(layers, label))
        _table(folder / "measure-pairs.csv", _pairs(layers, label))
        _json(folder, "dknn", [{"set": f"test{label}", "n": 8, "credibility": 0.5}])
        _dknn_tables(folder, label)
        _json(folder, "ood", _ood(label))
        _table(folder / "ood-scores.csv", _scores(label))
        _table(folder / "map.csv", _map(label))
        _json(folder, "map", [{"set": f"test{label}", "n": 8, "entanglement": 0.4}])
        return folder

    return write


def _json(folder: Path, command: str, rows: list[dict]) -> None:
    body = {
        "command": command,
        "version": "0",
        "models": [{"model": rows[0].get("model", "m"), "accuracy": 0.9, "preprocessing": "unit"}],
        "rows": rows,
        "provenance": {"seed": 0, "data": {"name": rows[0].get("set", "x")}},
        "notes": ["a note"],
    }
    (folder / f"{command}.json").write_text(json.dumps(body))


def _table(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _measure(layers: list[str], label: str) -> list[dict]:
    return [
        {
            "model": f"net{label}-step{step}.onnx",
            "step": step,
            "layer": layer,
            "dim": 4,
            "n": 8,
            "snnl": 0.5,
            "temperature": 10.0 ** (place - 1) if step else None,
            "entanglement": 0.9 - 0.002 * step - 0.1 * place,
            "boundary": "none" if step else "infinity",
            "knn_accuracy": 0.5 + 0.001 * step,
        }
        for step in (0, 100, 300)
        for place, layer in enumerate(layers)
    ]


def _pairs(layers: list[str], label: str) -> list[dict]:
    return [
        {
            "model": f"net{label}-step300.onnx",
            "step": 300,
            "layer": layer,
            "class_a": a,
            "class_b": b,
            "name_a": f"{a}{label}",
            "name_b": f"{b}{label}",
            "entanglement": "" if b == 2 else 0.25,
        }
        for layer in layers
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]


def _dknn_tables(folder: Path, label: str) -> None:
    from entangle_cli.text import file_stem

    inputs = [{"index": i, "credibility": i / 8} for i in range(8)]
    _table(folder / f"dknn-{file_stem(f'test{label}')}.csv", inputs)
    bins = [
        {"set": f"test{label}", "count": 4, "accuracy": a, "credibility": c}
        for a, c in ((0.5, 0.2), (1.0, 0.8))
    ]
    _table(folder / "dknn-reliability.csv", [*bins, bins[0] | {"count": 0, "accuracy": ""}])
    strip = {
        "set": f"test{label}",
        "id": f"image{label}",
        "label": f"cat{label}",
        "model_prediction": "dog",
        "prediction": "cat",
        "credibility": 0.01,
        "image": PIXEL,
        "layers": [
            {
                "layer": f"conv{label}",
                "neighbors": [{"id": "t/1", "label": "cat", "distance": 0.1, "image": PIXEL}],
            }
        ],
    }
    other = strip | {"id": "another", "label": "dog", "image": "https://example.org/x.png"}
    (folder / "dknn-strips.json").write_text(json.dumps({"inputs": [strip, other]}))


def _ood(label: str) -> list[dict]:
    shared = {"in": f"test{label}", "out": f"odd{label}", "n_in": 8, "n_out": 8}
    return [
        {"detector": "msp", "layer": "logits", "auroc": 0.75} | shared,
        {"detector": "knn", "layer": f"fc{label}", "auroc": 1.0} | shared,
        {"detector": "broken", "layer": "logits", "auroc": None} | shared,
        # as where there are several out sets; it is no set
        {"detector": "msp", "layer": "logits", "auroc": 0.75} | shared | {"out": "mean"},
    ]


def _scores(label: str) -> list[dict]:
    known = np.arange(8) / 8
    rows = []
    for name, shift in ((f"test{label}", 0.0), (f"odd{label}", 2.0)):
        for i, value in enumerate(known):
            rows.append({"set": name, "index": i, "msp": value, f"knn@fc{label}": value + shift})
    rows[-1]["msp"] = ""
    return rows


def _map(label: str) -> list[dict]:
    return [
        {"set": name, "index": i, "id": f"{name}/{i}", "label": i % 2, "x": i, "y": -i}
        for name in (f"test{label}", f"odd{label}")
        for i in range(4)
    ]
