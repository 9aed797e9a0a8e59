"""Hostile names of classes, layers, files and sets, from the files to everything that is shown."""

import csv
import html
import json
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from hostile_names import HOSTILE
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from entangle_cli.app import app

COMMANDS = {
    "measure": ("measure", "{model}", HOSTILE[0]),
    "pairs": (
        "measure", "{model}", HOSTILE[0], "--class-pairs", "--layers", f"*{HOSTILE[11]}*",
        "-o", "pairs-out",
    ),
    "dknn": (
        "dknn", "{model}", "--train", "train", "--calib", "calib", "-k", "5",
        "--test", HOSTILE[0], "--test", HOSTILE[13], "--worst", "1",
    ),
    "ood": (
        "ood", "{model}", "--train", "train", "--calib", "calib", "--in", HOSTILE[1],
        "--out", HOSTILE[11], "--detectors", "msp,knn", "--resamples", "40",
    ),
    "between": ("between", "--", *HOSTILE),
    "layers": ("layers", "{model}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, str]:
    """What the commands print, by name, of files that all have hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    _write_files(folder)
    (model,) = folder.glob("*.onnx")
    printed = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for name, words in COMMANDS.items():
            given = [word.replace("{model}", model.name) for word in words]
            found = CliRunner().invoke(app, given)
            assert found.exit_code == 0, found.output
            printed[name] = found.stdout + found.stderr
    return {"folder": str(folder)} | printed


@pytest.fixture
def files(shown, monkeypatch) -> Path:
    """The folder that the commands have worked in."""
    monkeypatch.chdir(shown["folder"])
    return Path(shown["folder"])


def _write_files(tmp_path: Path) -> None:
    """A network of 20 layers and images of 20 classes in 20 sets."""
    random = np.random.default_rng(0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = [("file_name", "label")]
    for number, name in enumerate(HOSTILE * 2):
        # a file name may hold anything but these
        file = f"{number}{name.replace('/', '')}.png"
        Image.fromarray(random.integers(0, 256, (4, 4), dtype=np.uint8)).save(pictures / file)
        lines.append((file, name))
    with open(pictures / "labels.csv", "w", newline="") as out:
        csv.writer(out).writerows(lines)
    for name in ("train", "calib"):
        images = random.integers(0, 256, (100, 4, 4, 1), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(100) % 20)
    sets = [f"{json.dumps(name)} = 'pictures'" for name in HOSTILE]
    known = ["train = 'train.npz'", "calib = 'calib.npz'"]
    table = "\n".join(["[data]", *known, *sets, "[preprocess]", "preset = 'unit'"])
    (tmp_path / "entangle.toml").write_text(table)
    _save_network(tmp_path / f"{HOSTILE[1].replace('/', '')}.onnx", random)
    return tmp_path


def _save_network(path: Path, random: np.random.Generator) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["h0"], name="flatten")]
    weights, width = [], 16
    for number, name in enumerate(HOSTILE):
        weight = random.normal(size=(width, 20)).astype(np.float32) / 4
        weights.append(numpy_helper.from_array(weight, f"{name}.weight"))
        nodes += [
            helper.make_node(
                "MatMul", [f"h{number}", f"{name}.weight"], [f"{name}"], name=f"/{name}/MatMul"
            ),
            helper.make_node("Relu", [name], [f"h{number + 1}"], name=f"/{name}/Relu"),
        ]
        width = 20
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info(f"h{len(HOSTILE)}", TensorProto.FLOAT, ["n", 20])],
        weights,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )


def harmful(text: str) -> set[str]:
    """Characters that a terminal or a reader would obey."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}


def is_formula(cell: str) -> bool:
    return cell[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)


def test_everything_that_is_shown_of_them_is_text(shown, files):
    for name in COMMANDS:
        assert not harmful(shown[name]), name
    out = files / "entangle-out"
    tables = [*files.glob("*-out/*.csv")]
    assert {"measure.csv", "measure-pairs.csv", "ood.csv", "between.csv"} < {t.name for t in tables}
    for table in tables:
        text = table.read_text()
        assert not harmful(text), table.name
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert not [cell for cell in cells if is_formula(cell)], table.name
    layers = {row["layer"] for row in json.loads((out / "measure.json").read_text())["rows"]}
    assert len(layers) >= len(HOSTILE)
    with open(files / "pairs-out" / "measure-pairs.csv", newline="") as file:
        names = {row[key] for row in csv.DictReader(file) for key in ("name_a", "name_b")}
    assert {"'=HYPERLINK(1)", "'@SUM(1)", "'-->", "\\x1b[31mred"} < names
    compared = json.loads((out / "between.json").read_text())["rows"]
    assert [row["b"] for row in compared] == HOSTILE[1:]


def test_the_page_and_the_figures_made_of_them_hold_no_foreign_element(entangle, files):
    pytest.importorskip("matplotlib")
    assert entangle("report", "entangle-out", "pairs-out", "--figures", "figures").code == 0
    page = (files / "report.html").read_text()
    without_own = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"<(script|iframe|base|object|embed|x)\b", without_own)
    assert not re.search(r"<[^>]*\son\w+\s*=", re.sub(r'"[^"]*"', '""', without_own))
    assert not harmful(page)
    assert html.escape(HOSTILE[0]) in page
    assert "49" not in re.findall(r">([^<]*7\*7[^<]*)<", page)[0]
    pictures = sorted((files / "figures").glob("*.svg"))
    assert len(pictures) >= 6
    allowed = {"svg", "metadata", "defs", "style", "g", "path", "use", "clipPath", "rect", "image"}
    for picture in pictures:
        tags = {node.tag.rpartition("}")[2] for node in ElementTree.parse(picture).iter()}
        # what describes the picture itself
        assert tags <= allowed | {"RDF", "Work", "type", "format", "creator", "Agent", "title"}
    for table in (files / "figures").glob("*.csv"):
        cells = [cell for row in csv.reader(table.read_text().splitlines()) for cell in row]
        assert not [cell for cell in cells if is_formula(cell)], table.name
