"""Bad inputs: files that are no TorchScript, and networks saved in an unlucky state."""

import zipfile

import torch
from bench import CLASSES, Bench, add, keeps, refused
from sound import Convolution, Perceptron, save_script
from torch import nn

RUN = "measure bad.pt vec.npz"

add("script empty", lambda at: at.write("bad.pt", b""), RUN, "refused", "empty")
add("script cut", lambda at: at.cut("vec.pt", "bad.pt", 0.3), RUN, "refused", "bad.pt", "copy it")
add(
    "weights without a network",
    lambda at: torch.save(Perceptron().state_dict(), at.path("bad.pt")),
    RUN,
    "refused",
    "state_dict",
)
add(
    "network as a pickle",
    lambda at: torch.save(Perceptron(), at.path("bad.pt")),
    RUN,
    "refused",
    "pickled",
)
add(
    "network as a pickle of the old kind",
    lambda at: torch.save(Perceptron(), at.path("bad.pt"), _use_new_zipfile_serialization=False),
    RUN,
    "refused",
    "pickled",
)
add(
    "checkpoint of a trainer",
    lambda at: torch.save({"epoch": 3, "model": Perceptron().state_dict()}, at.path("bad.pt")),
    RUN,
    "refused",
    "state_dict",
)
add(
    "exported program",
    lambda at: at.zip("bad.pt", {"bad/archive_format": b"pt2", "bad/data/x": b""}),
    RUN,
    "refused",
    "torch.export",
)
add(
    "archive that is no model",
    lambda at: at.zip("bad.pt", {"readme.txt": b"hello"}),
    RUN,
    "refused",
    "zip archive",
)
add(
    "script under the other suffix",
    lambda at: at.write("net.onnx", at.read("vec.pt")),
    "measure net.onnx vec.npz",
    "fine",
)


@refused(RUN, "checksum")
def script_with_flipped_weights(at: Bench) -> None:
    data = bytearray(at.read("vec.pt"))
    with zipfile.ZipFile(at.folder / "vec.pt") as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("/data/0"))
    header = data[member.header_offset :][:30]
    start = member.header_offset + 30 + int.from_bytes(header[26:28], "little")
    start += int.from_bytes(header[28:30], "little")
    data[start + int(at.random.integers(member.file_size))] ^= 1 << int(at.random.integers(8))
    at.write("bad.pt", bytes(data))


def _script(name: str, module, outcome: str, *says: str, words: str = RUN, how=torch.jit.script):
    add(name, lambda at: save_script(module(), at.path("bad.pt"), how), words, outcome, *says)


class Dropping(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, CLASSES))


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, CLASSES))


def _traced(module):
    return torch.jit.trace(module, torch.rand(3, 4), check_trace=False)


_script("saved in training mode", lambda: Dropping().train(), "warned", "saved in training mode")
_script(
    "normed, saved in training mode", lambda: Normed().train(), "warned", "training mode: its 1"
)
_script("linear, in training mode", lambda: Perceptron().train(), "fine")
_script("traced in training mode", lambda: Dropping().train(), "warned", "dropout", how=_traced)
_script("batch statistics traced", lambda: Normed().train(), "warned", "batch", how=_traced)


class Raising(Perceptron):
    def forward(self, x):
        if x.shape[0] > 0:
            raise ValueError("not today\nnor tomorrow")
        return self.second(self.first(x))


class Two(Perceptron):
    def forward(self, x, y):
        return self.second(self.first(x + y))


class Endless(Perceptron):
    def forward(self, x):
        return self.second(self.first(x.expand(1099511627776, x.shape[0], 4).contiguous()))


class Undefined(Perceptron):
    def forward(self, x):
        return self.second(self.first(x) / 0.0 * 0.0)


class Named(Perceptron):
    def forward(self, x):
        return {"scores": self.second(self.first(x)), "points": x}


class Mixing(Perceptron):
    def forward(self, x):
        points = self.first(x)
        return self.second(points - points.mean(0))


class Noisy(Perceptron):
    def forward(self, x):
        return self.second(self.first(x) + torch.randn_like(self.first(x)))


_script("network that raises", lambda: Raising().eval(), "refused", "not today")
_script("two arguments", lambda: Two().eval(), "refused", "bad.pt")
_script("absurd memory asked for", lambda: Endless().eval(), "refused", "bad.pt")
_script("network that computes nan", lambda: Undefined().eval(), "refused", "NaN")
_script("outputs by name", lambda: Named().eval(), "fine")
_script("script that mixes the batch", lambda: Mixing().eval(), "warned", "batch")
_script("script that draws at random", lambda: Noisy().eval(), "warned", "another output")
_script(
    "frozen",
    lambda: Perceptron().eval(),
    "fine",
    how=lambda module: torch.jit.freeze(torch.jit.script(module)),
)
_script(
    "images of features",
    lambda: Convolution().eval(),
    "refused",
    "bad.pt",
)
_script("other width", lambda: nn.Sequential(nn.Linear(9, 3)).eval(), "refused", "float32[3, 4]")
_script("without layers", lambda: nn.Sequential(nn.Identity()).eval(), "refused", "layer")
_script(
    "layers told nothing about the input",
    lambda: nn.Sequential(nn.Flatten(), nn.ReLU()).eval(),
    "fine",
    words="layers bad.pt",
)

keeps("network that computes nan", "entangle-out/activations")
