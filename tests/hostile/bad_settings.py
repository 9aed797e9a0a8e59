"""Bad inputs: entangle.toml, preprocessing in all its places."""

import json
import os

import numpy as np
from bench import Bench, add, fine, refused, warned

RUN = "measure net.onnx images.npz"
BARE = "measure"


def _toml(name: str, text: str | bytes, outcome: str, *says: str, words: str = BARE) -> None:
    add(f"toml {name}", lambda at: at.write("entangle.toml", text), words, outcome, *says)


_GOOD = 'model = "vec.onnx"\n[data]\ntest = "vec.npz"\n'
_toml("as it should be", _GOOD, "fine")
_toml("not TOML", "model = ", "refused", "entangle.toml", "not valid TOML")
_toml("with a key twice", _GOOD + 'test = "b"\n', "refused", "not valid TOML")
_toml("not text", b"\xff\xfe\x00", "refused", "not valid TOML")
_toml("nested too deeply", "model = " + "[" * 100_000, "refused", "entangle.toml")
_toml("with tables nested too deeply", "a." * 20_000 + "b = 1", "refused", "50 parts")
_toml("with a number of many digits", "model = " + "9" * 10_000, "refused", "entangle.toml")
_toml("with an unknown key", 'modle = "vec.onnx"', "refused", "'modle'", "did you mean 'model'")
_toml("with a number for a model", "model = 3", "refused", "'model' must be a path")
_toml("with a number for data", "[data]\ntest = 3", "refused", "must be a path in quotes")
_toml("with text for data", 'data = "vec.npz"', "refused", "must be a table")
_toml("with text for preprocess", 'preprocess = "unit"', "refused", "must be a table")
_toml("with a model that is not there", _GOOD.replace("vec.onnx", "v.onnx"), "refused", "v.onnx")
_toml("with data that are not there", _GOOD.replace("vec.npz", "v.npz"), "refused", "v.npz")
_toml("with a glob for nothing", _GOOD.replace("vec.onnx", "runs/*.onnx"), "refused", "runs/*.onnx")
_toml("with a zero byte", _GOOD.replace("vec.npz", "v\\u0000ec.npz"), "refused", "must be a path")
_toml(
    "with a zero byte in a model",
    _GOOD.replace("vec.onnx", "v\\u0000.onnx"),
    "refused",
    "must be a path",
)
_toml(
    "with empty text for a model",
    'model = ""\n' + _GOOD.partition("\n")[2],
    "refused",
    "must be a path",
)
_toml(
    "with an unknown data name",
    _GOOD,
    "refused",
    "did you mean 'test'",
    words="measure vec.onnx tset",
)
_toml(
    "with nonsense for preprocess",
    "[preprocess]\nmaen = [0.5]\n",
    "refused",
    "unknown key 'maen'",
    words=RUN,
)
_toml("that is huge", "# " + "x" * 3_000_000, "refused", "more than 1 MiB", words=BARE)


@refused(BARE, "entangle.toml")
def toml_without_permission_to_mean_anything(at: Bench) -> None:
    at.write("entangle.toml", "[preprocess.mean]\nx = 1\n[data]\n")


@fine(RUN)
def toml_that_is_a_folder(at: Bench) -> None:
    at.path("entangle.toml/x")


@fine(RUN)
def toml_that_is_a_pipe(at: Bench) -> None:
    os.mkfifo(at.path("entangle.toml"))


def _json(name: str, content: object, outcome: str, *says: str) -> None:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    add(
        f"preprocess {name}",
        lambda at: at.write("p.json", text),
        f"{RUN} --preprocess p.json",
        outcome,
        *says,
    )


_json("not JSON", "{mean: 1}", "refused", "p.json", "not valid JSON")
_json("empty", "", "refused", "p.json", "not valid JSON")
_json("not text", b"\xff\xfe\xff", "refused", "p.json")
_json("a list", [1, 2], "refused", "not a JSON object")
_json("nested too deeply", "[" * 100_000, "refused", "not valid JSON")
_json("of many digits", '{"scale": ' + "9" * 5_000 + "}", "refused", "p.json")
_json("too large", " " * (5 * 2**20), "refused", "larger than")
_json("with an unknown key", {"maen": [0.5]}, "refused", "'maen'", "did you mean 'mean'")
_json("with nan", '{"mean": [NaN]}', "refused", "p.json: mean", "nan")
_json("with infinity", '{"std": [1e999]}', "refused", "p.json: std")
_json("with a zero for std", {"std": [0]}, "refused", "std without a zero")
_json("with text for a number", {"mean": ["half"]}, "refused", "p.json: mean", "give a number")
_json("with a negative scale", {"scale": -1}, "refused", "p.json: scale")
_json("with too many means", {"mean": [0, 0, 0, 0]}, "refused", "mean has 4 values")
_json("with a size of nothing", {"size": [0, 8]}, "refused", "p.json: size")
_json("with an absurd size", {"size": [2**30, 2**30]}, "refused", "64,000,000 pixels")
_json("with a share above one", {"crop_pct": 2}, "refused", "p.json: crop_pct")
_json("with an unknown color", {"color": "infrared"}, "refused", "'infrared'")
_json("with an unknown filter", {"interpolation": "magic"}, "refused", "'magic'")
_json("with an unknown type", {"dtype": "object"}, "refused", "'object'")
_json("with an unknown preset", {"preset": "nope"}, "refused", "'nope'")
_json("with a preset of another type", {"preset": ["unit"]}, "refused", "p.json: preset")
_json("with whole numbers for fractions", {"dtype": "int64"}, "refused", "stay 0-255")
_json("with a tiny std", {"std": [1e-320]}, "refused", "p.json: std", "1e-12")


@refused(f"{RUN} --preprocess p.json", "not a regular file")
def preprocess_that_is_a_pipe(at: Bench) -> None:
    os.mkfifo(at.path("p.json"))


@refused(RUN, "net.preprocess.json", "not valid JSON")
def preprocess_beside_the_model(at: Bench) -> None:
    at.write("net.preprocess.json", "{")


@refused(RUN, "config.json", "not valid JSON")
def preprocess_of_timm(at: Bench) -> None:
    at.write("config.json", '{"pretrained_cfg": ')


@refused(RUN, "config.json", "crop_mode")
def preprocess_of_timm_with_an_unknown_crop(at: Bench) -> None:
    at.write("config.json", json.dumps({"mean": [0], "std": [1], "crop_mode": "zoom"}))


@refused(RUN, "preprocessor_config.json", "size")
def preprocess_of_hugging_face(at: Bench) -> None:
    at.write("preprocessor_config.json", json.dumps({"size": {"height": "big", "width": 3}}))


@refused(RUN, "preprocessor_config.json", "size")
def preprocess_of_hugging_face_with_huge_sizes(at: Bench) -> None:
    at.write("preprocessor_config.json", json.dumps({"size": 2**40}))


@refused(RUN, "preprocessor_config.json", "rescale_factor")
def preprocess_of_hugging_face_scaled_by_nothing(at: Bench) -> None:
    at.write("preprocessor_config.json", json.dumps({"rescale_factor": 1e-320}))


@refused("measure open.onnx images.npz --preprocess p.json", "p.json")
def preprocess_that_asks_for_absurd_memory(at: Bench) -> None:
    import onnx
    from sound import onnx_model

    nodes = [("Relu", ["x"], ["r"]), ("ReduceMean", ["r"], ["y"], {"axes": [2, 3]})]
    values = [("x", ["n", 1, None, None])], [("y", ["n", None, None, None])]
    onnx.save(onnx_model(nodes, *values), at.path("open.onnx"))
    at.write("p.json", json.dumps({"size": [200_000, 200_000]}))


@warned(f"{RUN} --preprocess p.json", "mean 128 lies outside")
def preprocess_with_means_of_another_scale(at: Bench) -> None:
    at.write("p.json", json.dumps({"mean": [128], "std": [64]}))


@warned("measure vec.onnx vec.npz --preprocess p.json", "not used")
def preprocess_for_arrays(at: Bench) -> None:
    at.write("p.json", "{}")


@refused("measure net.onnx images.npz", "entangle.json")
def preprocess_inside_the_model(at: Bench) -> None:
    import onnx

    proto = onnx.load(at.folder / "net.onnx")
    proto.metadata_props.add(key="entangle.json", value="[")
    onnx.save(proto, at.folder / "net.onnx")
    assert np.any(at.images)
