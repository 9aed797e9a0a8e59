"""Hostile models: TorchScript that reaches out, ONNX whose weights lie elsewhere."""

import io
import os
import pickle
import zipfile

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from sound import Perceptron, onnx_model, save_script, vector_model
from torch import Tensor, nn
from traps import SECRET, Trap, hostile

SCRIPT = "measure evil.pt vec.npz"
ONNX = "measure evil.onnx vec.npz"


class Writing(Perceptron):
    def forward(self, x):
        torch.save(x, "MARK")
        return self.second(self.first(x))


class Reading(Perceptron):
    def forward(self, x):
        read = torch.from_file("CANARY", False, 8, dtype=torch.uint8)
        return self.second(self.first(x)) + read.sum()


class WritingAtLoad(nn.Module):
    def __init__(self):
        super().__init__()
        self.training = False
        self.fc = nn.Linear(4, 3)

    @torch.jit.export
    def __getstate__(self):
        return (self.training, self.fc.weight)

    @torch.jit.export
    def __setstate__(self, state: tuple[bool, Tensor]) -> None:
        torch.save(state[1], "MARK")
        self.training = state[0]

    def forward(self, x):
        return self.fc(x)


class OutOfBounds(Perceptron):
    def forward(self, x):
        return self.second(self.first(x)) + x.as_strided([1, 3], [1, 1], 1 << 40)


class Harmful:
    """A pickle that writes the mark when it is loaded."""

    def __init__(self, mark: object) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def _script(at: Trap, module: nn.Module) -> None:
    """A script with the paths of this trap in its code."""
    save_script(module.eval(), at.path("evil.pt"))
    paths = {b"MARK": str(at.mark).encode(), b"CANARY": str(at.canary).encode()}

    def change(name: str, data: bytes):
        for word, path in paths.items():
            data = data.replace(b'"' + word + b'"', b'"' + path + b'"')
        return [(name, data)]

    _rewrite(at, change)


def _rewrite(at: Trap, change, source: str = "evil.pt") -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(at.folder / source) as old, zipfile.ZipFile(stream, "w") as new:
        for member in old.namelist():
            for name, data in change(member, old.read(member)):
                new.writestr(name, data)
    at.write("evil.pt", stream.getvalue())


@hostile(SCRIPT, "aten::save")
def script_that_writes(at: Trap) -> None:
    _script(at, Writing())


@hostile(SCRIPT, "aten::from_file")
def script_that_reads(at: Trap) -> None:
    _script(at, Reading())


@hostile("layers evil.pt", "__setstate__")
def script_that_writes_while_loaded(at: Trap) -> None:
    _script(at, WritingAtLoad())


@hostile(SCRIPT, "as_strided")
def script_out_of_bounds(at: Trap) -> None:
    _script(at, OutOfBounds())


@hostile("inspect evil.pt", "aten::save")
def script_that_writes_and_is_only_looked_at(at: Trap) -> None:
    _script(at, Writing())


@hostile(SCRIPT, "aten::save")
def script_in_disguise(at: Trap) -> None:
    _script(at, Writing())
    _rewrite(at, lambda name, data: [(name, data.replace(b"torch.save(", b"torch.\\\n  save("))])


@hostile(SCRIPT, "rpc")
def script_that_calls_home(at: Trap) -> None:
    def change(name, data):
        return [(name, data.replace(b"torch.relu(", b"torch.rpc_sync("))]

    _rewrite(at, change, "vec.pt")


@hostile(SCRIPT, "foreign::op")
def script_with_a_foreign_operator(at: Trap) -> None:
    def change(name, data):
        return [(name, data.replace(b"torch.relu(", b"ops.foreign.op("))]

    _rewrite(at, change, "vec.pt")


def _poisoned(at: Trap, protocol: int, member: str) -> None:
    def change(name, data):
        return [(name, pickle.dumps(Harmful(at.mark), protocol) if name.endswith(member) else data)]

    _rewrite(at, change, "vec.pt")


@hostile(SCRIPT, "system")
def script_with_a_harmful_pickle(at: Trap) -> None:
    _poisoned(at, 2, "data.pkl")


@hostile(SCRIPT, "STACK_GLOBAL")
def script_with_a_pickle_that_hides_names(at: Trap) -> None:
    _poisoned(at, 4, "constants.pkl")


@hostile(SCRIPT, "pickled")
def checkpoint_with_a_harmful_pickle(at: Trap) -> None:
    torch.save({"weights": Harmful(at.mark)}, at.path("evil.pt"))


@hostile(f"{SCRIPT} --trust", "pickled")
def bare_harmful_pickle(at: Trap) -> None:
    at.write("evil.pt", pickle.dumps(Harmful(at.mark), 2))


@hostile(SCRIPT, "same name")
def script_with_a_member_twice(at: Trap) -> None:
    def change(name, data):
        return [(name, data), (name.upper(), data)] if name.endswith("data.pkl") else [(name, data)]

    _rewrite(at, change, "vec.pt")


@hostile(SCRIPT, "one folder")
def script_with_a_member_that_leaves(at: Trap) -> None:
    def change(name, data):
        more = [(f"../{at.mark.name}", b"x")] if name.endswith("data.pkl") else []
        return [(name, data), *more]

    _rewrite(at, change, "vec.pt")


@hostile(SCRIPT, "unpacks to")
def script_that_is_a_bomb(at: Trap) -> None:
    def change(name, data):
        return [(name, data)]

    _rewrite(at, change, "vec.pt")
    with zipfile.ZipFile(at.folder / "evil.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vec/data/9", b"x")
    data = at.read("evil.pt")
    entry = data.rindex(b"PK\x01\x02")
    size = (4_000_000_000).to_bytes(4, "little")
    at.write("evil.pt", data[: entry + 24] + size + data[entry + 28 :])


def _outside(at: Trap, location: str, **more: str) -> None:
    """An ONNX file whose first weights lie at ``location``."""
    proto = vector_model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location, "length": "80"} | more).items():
        tensor.external_data.add(key=key, value=value)
    at.write("evil.onnx", proto.SerializeToString())


@hostile(ONNX, "evil.onnx")
def weights_above_the_folder(at: Trap) -> None:
    _outside(at, os.path.relpath(at.canary, at.folder))


@hostile(ONNX, "evil.onnx")
def weights_above_by_a_detour(at: Trap) -> None:
    _outside(at, "images/../" + os.path.relpath(at.canary, at.folder))


@hostile(ONNX, "evil.onnx")
def weights_at_an_absolute_path(at: Trap) -> None:
    _outside(at, str(at.canary))


@hostile(ONNX, "evil.onnx")
def weights_behind_a_link(at: Trap) -> None:
    os.symlink(at.canary, at.path("w.bin"))
    _outside(at, "w.bin")


@hostile(ONNX, "evil.onnx")
def weights_behind_a_hard_link(at: Trap) -> None:
    os.link(at.canary, at.path("w.bin"))
    _outside(at, "w.bin")


@hostile(ONNX, "evil.onnx")
def weights_in_a_linked_folder(at: Trap) -> None:
    os.symlink(at.canary.parent, at.path("w"))
    _outside(at, f"w/{at.canary.name}")


@hostile(ONNX, "evil.onnx")
def weights_from_a_device(at: Trap) -> None:
    _outside(at, "../" * 20 + "dev/zero")


@hostile(ONNX, "evil.onnx")
def weights_from_a_pipe(at: Trap) -> None:
    os.mkfifo(at.path("w.bin"))
    _outside(at, "w.bin")


@hostile(ONNX, "evil.onnx")
def weights_from_the_folder_itself(at: Trap) -> None:
    _outside(at, ".")


@hostile(ONNX, "evil.onnx")
def weights_before_their_file(at: Trap) -> None:
    at.write("w.bin", bytes(80))
    _outside(at, "w.bin", offset="-4096")


@hostile(ONNX, "evil.onnx")
def weights_of_absurd_length(at: Trap) -> None:
    at.write("w.bin", bytes(80))
    _outside(at, "w.bin", offset=str(2**63 - 8))


@hostile(ONNX, "evil.onnx")
def constant_outside_the_folder(at: Trap) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(at.canary))
    nodes = [("Constant", [], ["c"], {"value": tensor}), ("Add", ["g", "c"], ["y"])]
    onnx_proto = vector_model(nodes)
    at.write("evil.onnx", onnx_proto.SerializeToString())


@hostile(ONNX, "evil.onnx")
def weights_outside_within_a_branch(at: Trap) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(at.canary))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [3])],
        [tensor],
    )
    extra = [
        ("If", ["always"], ["b"], {"then_branch": branch, "else_branch": branch}),
        ("Add", ["g", "b"], ["y"]),
    ]
    proto = vector_model(extra, arrays={"always": np.array(True)})
    at.write("evil.onnx", proto.SerializeToString())


@hostile(ONNX, "evil.onnx")
def sparse_weights_outside_the_folder(at: Trap) -> None:
    proto = vector_model([("Add", ["g", "s"], ["y"])])
    values = TensorProto(name="s", data_type=TensorProto.FLOAT, dims=[1])
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value=os.path.relpath(at.canary, at.folder))
    places = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))
    at.write("evil.onnx", proto.SerializeToString())


@hostile(ONNX, "Custom")
def operator_from_a_library(at: Trap) -> None:
    extra = [("Custom", ["g"], ["y"], {"domain": "evil", "library": str(at.mark)})]
    at.write("evil.onnx", vector_model(extra, domains=["evil"]).SerializeToString())


@hostile("layers evil.onnx", None)
def names_for_the_terminal(at: Trap) -> None:
    name = "\x1b]8;;http://x\x07\x1b[2J[bold red]\u202e"
    nodes = [("Gemm", ["x", "w"], [name]), ("Relu", [name], ["y"])]
    held = {"w": np.ones((4, 3), np.float32)}
    proto = onnx_model(nodes, [("x", ["n", 4])], [("y", ["n", 3])], held)
    proto.graph.node[0].name = f"{name}\n= error: {SECRET[:6]}"
    onnx.save(proto, at.path("evil.onnx"))


@hostile("measure evil.onnx vec.npz --layers all", None)
def names_that_are_paths(at: Trap) -> None:
    nodes = [
        ("Gemm", ["x", "w"], [f"../../{at.mark.name}"]),
        ("Relu", [f"../../{at.mark.name}"], ["y"]),
    ]
    held = {"w": np.ones((4, 3), np.float32)}
    onnx.save(onnx_model(nodes, [("x", ["n", 4])], [("y", ["n", 3])], held), at.path("evil.onnx"))
