"""Bad inputs: training, calibration and test data of ``entangle dknn``."""

import numpy as np
from bench import ROWS, Bench, add, keeps, nothing, refused, warned

DATA = "--train train.npz --calib calib.npz --test vec.npz -k 5"
RUN = f"dknn vec.onnx {DATA}"

add("calibration as it should be", nothing, RUN, "fine")


def _calib(name: str, change, outcome: str, *says: str, words: str = RUN) -> None:
    def build(at: Bench) -> None:
        held = np.load(at.folder / "calib.npz")
        arrays = {"x": held["x"], "y": held["y"]} | change(at, held["x"], held["y"])
        at.npz("calib.npz", **{key: array for key, array in arrays.items() if array is not None})

    add(f"calibration {name}", build, words, outcome, *says)


_calib("empty", lambda at, x, y: {"x": x[:0], "y": y[:0]}, "refused", "no samples")
_calib("without labels", lambda at, x, y: {"y": None}, "refused", "calibration data needs labels")
_calib("of foreign classes", lambda at, x, y: {"y": y + 5}, "refused", "class")
_calib("of another width", lambda at, x, y: {"x": x[:, :2]}, "refused", "the model takes")
_calib("with nan", lambda at, x, y: {"x": x * np.nan}, "refused", "not finite")
_calib("without one class", lambda at, x, y: {"x": x[y > 0], "y": y[y > 0]}, "warned", "class")
_calib("of one sample", lambda at, x, y: {"x": x[:1], "y": y[:1]}, "refused", "at least 2")
keeps("calibration of one sample", "entangle-out")


def _train(at: Bench) -> tuple[np.ndarray, np.ndarray]:
    held = np.load(at.folder / "train.npz")
    return held["x"], held["y"]


@refused(RUN, "calibration samples", "--force")
def calibration_that_overlaps_training(at: Bench) -> None:
    at.write("calib.npz", at.read("train.npz"))


@warned(f"{RUN} --force", "calibration samples")
def calibration_that_overlaps_and_is_wanted(at: Bench) -> None:
    at.write("calib.npz", at.read("train.npz"))


@refused(RUN, "calibration samples")
def calibration_that_overlaps_in_one_sample(at: Bench) -> None:
    x, y = _train(at)
    held = np.load(at.folder / "calib.npz")
    at.npz("calib.npz", x=np.concatenate([held["x"], x[:1]]), y=np.append(held["y"], y[0]))


@refused(RUN, "neighbors")
def fewer_training_samples_than_neighbors(at: Bench) -> None:
    x, y = _train(at)
    at.npz("train.npz", x=x[:4], y=y[:4])


keeps("fewer_training_samples_than_neighbors", "entangle-out/activations")


@refused(RUN, "training data needs a label")
def training_without_labels(at: Bench) -> None:
    at.npz("train.npz", x=_train(at)[0])


@warned(RUN, "class")
def test_set_of_other_classes(at: Bench) -> None:
    at.npz("vec.npz", x=at.points, y=np.array(["cat", "dog", "emu"])[at.labels])
    for name in ("train", "calib"):
        held = np.load(at.folder / f"{name}.npz")
        at.npz(f"{name}.npz", x=held["x"], y=np.array(["a", "b", "c"])[held["y"]])


for _words, _says in {
    f"dknn vec.onnx {DATA} -k 0": "--neighbors",
    f"dknn vec.onnx {DATA} --metric manhattan": "--metric",
    f"dknn vec.onnx {DATA} --knn magic": "--knn",
    f"dknn vec.onnx {DATA} --p-value high": "--p-value",
    f"dknn vec.onnx {DATA} --worst -1": "--worst",
    f"dknn vec.onnx {DATA} --explain x": "--explain",
    "dknn vec.onnx --train train.npz": "no --calib data",
    "dknn vec.onnx": "no --train data",
    "dknn": "no model given",
    f"dknn missing.onnx {DATA}": "missing.onnx",
    "dknn vec.onnx --train nowhere.npz --calib calib.npz": "nowhere.npz",
}.items():
    add(f"line {_words}", nothing, _words, "refused", _says)


@refused(f"dknn vec.onnx {DATA} --explain 999", "999")
def explanation_of_a_row_that_is_not_there(at: Bench) -> None:
    assert ROWS < 999


keeps("explanation_of_a_row_that_is_not_there", "entangle-out")
