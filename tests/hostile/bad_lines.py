"""Bad inputs: command lines."""

import os

from bench import Bench, add, keeps, nothing, refused

GOOD = "measure vec.onnx vec.npz"

for _words, _says in {
    f"{GOOD} --seed -1": "--seed",
    f"{GOOD} --seed one": "--seed",
    f"{GOOD} --limit 0": "--limit",
    f"{GOOD} --batch-size 0": "--batch-size 0",
    f"{GOOD} --batch-size -3": "--batch-size -3",
    f"{GOOD} --batch-size ²": "--batch-size",
    f"{GOOD} --metric manhattan": "--metric",
    f"{GOOD} --dtype int8": "--dtype",
    f"{GOOD} --reduce sum": "--reduce",
    f"{GOOD} --format xml": "--format",
    f"{GOOD} --frobnicate": "--frobnicate",
    f"{GOOD} --temperature 0": "--temperature 0",
    f"{GOOD} --temperature nan": "--temperature nan",
    f"{GOOD} --temperature inf": "--temperature inf",
    f"{GOOD} --temperature -1xmedian": "--temperature",
    f"{GOOD} --protocol batches:0x0": "--protocol batches:0x0",
    f"{GOOD} --protocol batches:999x2": "999",
    f"{GOOD} --protocol batches:8": "--protocol batches:8",
    f"{GOOD} --layers nonsense": "no layer matches 'nonsense'",
    f"{GOOD} --layers ''": "no layer matches",
    f"{GOOD} --layers @missing.txt": "@missing.txt",
    f"{GOOD} --exclude-layers '*'": "no layer is left",
    f"{GOOD} --device tpu": "--device tpu",
    f"{GOOD} --device cuda:99": "--device cuda:99",
    f"{GOOD} --device cuda:x": "--device cuda:x",
    f"{GOOD} --preprocess nonsense": "no preset 'nonsense'",
    f"{GOOD} --preprocess missing.json": "missing.json",
    f"{GOOD} -o vec.onnx": "vec.onnx",
    f"{GOOD} -o vec.onnx/below": "vec.onnx",
    "measure vec.npz vec.onnx": "no data given",
    "measure": "nothing to measure",
    "measure vec.onnx": "no data given",
    "measure '' vec.npz": "names nothing",
    "measure 'missing*.onnx' vec.npz": "missing*.onnx",
    "dump vec.onnx": "Missing argument",
    "dump '*.onnx' vec.npz": "stands for 2 model files",
    "dump vec.onnx vec.npz --layers input": "input",
    "dump vec.onnx vec.npz --file images": "images",
    "dump vec.onnx vec.npz --file vec.onnx": "vec.onnx",
    "layers vec.onnx --input-shape a,b": "--input-shape a,b",
    "layers vec.onnx --input-shape 0": "--input-shape 0",
    "layers vec.onnx --input-shape 99999,99999,99999": "--input-shape",
    "layers vec.npz": "vec.npz",
    "inspect missing": "missing",
    "inspect": "Missing argument",
    "nonsense": "nonsense",
    "--nonsense": "--nonsense",
}.items():
    add(f"line {_words}", nothing, _words, "refused", *filter(None, [_says]))


@refused(f"{GOOD} --layers @layers.txt", "not a text file")
def list_of_layers_that_is_no_text(at: Bench) -> None:
    at.write("layers.txt", b"\xff\xfe\x00bad")


@refused(f"{GOOD} --layers @layers.txt", "no layer patterns")
def list_of_layers_empty(at: Bench) -> None:
    at.write("layers.txt", "# nothing\n")


@refused(f"{GOOD} --layers @layers.txt", "not a regular file")
def list_of_layers_that_is_a_pipe(at: Bench) -> None:
    os.mkfifo(at.path("layers.txt"))


keeps(f"line {GOOD} --protocol batches:999x2", "entangle-out/activations")
