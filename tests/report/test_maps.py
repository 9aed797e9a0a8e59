import numpy as np

from entangle_cli.report.maps import GRAY, map_figure

ROW = {
    "set": "test",
    "against": None,
    "layer": "fc1",
    "entanglement": 0.25,
    "knn_accuracy": 0.9,
    "map_knn_accuracy": 0.8,
}
OTHER = ROW | {"set": "letters", "against": "test"}


def columns(labels, others=0):
    places = np.arange(len(labels) + others, dtype=float)
    return {
        "set": ["test"] * len(labels) + ["letters"] * others,
        "label": [*labels, *[None] * others],
        "x": places.tolist(),
        "y": (-places).tolist(),
    }


def test_a_panel_by_class_and_one_per_further_set():
    figure = map_figure([ROW, OTHER], columns([1, 0, 1], others=2), ["zero", "one"])
    classes, placed = figure.panels
    assert [(one.name, list(one.x)) for one in classes.series] == [
        ("zero", [1.0]),
        ("one", [0.0, 2.0]),
    ]
    assert [(one.name, list(one.y)) for one in placed.series] == [
        ("test", [0.0, -1.0, -2.0]),
        ("letters", [-3.0, -4.0]),
    ]
    assert placed.series[0].color == GRAY != placed.series[1].color
    assert "entanglement 0.25" in classes.title
    assert classes.x_label == "fc1: 1-NN 90.0 %, in the map 80.0 %"
    assert "letters on test" in placed.title


def test_ten_classes_have_ten_colors():
    (panel,) = map_figure([ROW], columns(list(range(10))), None).panels
    assert len({one.color for one in panel.series}) == 10
    assert [one.name for one in panel.series] == [str(c) for c in range(10)]


def test_smaller_classes_and_inputs_without_label_share_a_gray():
    labels = [*range(12), *range(3, 12), None]
    (panel,) = map_figure([ROW], columns(labels), None).panels
    rest, *shown = panel.series
    assert (rest.name, rest.color, len(rest.x)) == ("3 more classes, no label", GRAY, 4)
    assert [one.name for one in shown] == [str(c) for c in range(3, 12)]
    assert GRAY not in {one.color for one in shown}


def test_without_measured_classes_the_panel_claims_nothing():
    row = ROW | {"entanglement": None, "knn_accuracy": None, "map_knn_accuracy": None}
    (panel,) = map_figure([row], columns([None, None]), None).panels
    assert (panel.title, panel.x_label) == ("test", "fc1")
    assert [one.name for one in panel.series] == ["no label"]
