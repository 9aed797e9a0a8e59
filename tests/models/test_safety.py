"""The gate before a TorchScript file is loaded: honest files pass, each way out is refused."""

import pickle
import warnings
import zipfile

import pytest
import torch
from torch import Tensor, nn

from entangle_cli.errors import ModelError
from entangle_cli.models.opening import open_model
from entangle_cli.models.safety import refusal


class Honest(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Writing(nn.Module):
    def forward(self, x):
        torch.save(x, "written-by-the-model")
        return x


class Reading(nn.Module):
    def forward(self, x):
        return torch.from_file("secret", False, 8, dtype=torch.uint8)


class WritingWhileLoading(nn.Module):
    def __init__(self):
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state

    def forward(self, x):
        return x


class OutOfBounds(nn.Module):
    def forward(self, x: Tensor):
        return x.as_strided([2, 2], [1, 1])


@pytest.fixture
def save(tmp_path):
    def write(network, how=torch.jit.script):
        path = tmp_path / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(how(network), path)
        return path

    return write


def rewrite(path, change):
    """Pass every member of the archive through ``change(name, data) -> [(name, data), ...]``."""
    target = path.with_name("changed.pt")
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(target, "w") as archive,
    ):
        warnings.simplefilter("ignore")
        for member in source.namelist():
            for name, data in change(member, source.read(member)):
                archive.writestr(name, data)
    return target


def in_code(old, new):
    """A change that replaces text in the code members and insists on finding it."""

    def change(name, data):
        return [(name, data.replace(old, new) if "/code/" in name else data)]

    return change


@pytest.mark.parametrize(
    "how",
    [
        torch.jit.script,
        lambda network: torch.jit.trace(network, torch.rand(1, 1, 8, 8)),
        lambda network: torch.jit.freeze(torch.jit.script(network)),
    ],
    ids=["scripted", "traced", "frozen"],
)
def test_an_honest_network_passes(how, save):
    assert refusal(save(Honest().eval(), how)) is None


class Searched(nn.Module):
    """Architecture search likes to call its choices ``ops``."""

    def __init__(self):
        super().__init__()
        self.ops = nn.ModuleList([nn.Linear(4, 4), nn.ReLU()])

    def forward(self, x):
        for op in self.ops:
            x = op(x)
        return x


def test_a_module_called_ops_is_no_operator(save):
    assert refusal(save(Searched().eval())) is None


def test_quantised_networks_pass_although_they_restore_packed_weights(save):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(8, 4), nn.LSTM(4, 3)).eval(), {nn.Linear, nn.LSTM}
        )
    assert refusal(save(network)) is None


@pytest.mark.parametrize(
    ("network", "pattern"),
    [
        (Writing, "aten::save"),
        (Reading, "aten::from_file"),
        (WritingWhileLoading, "__setstate__"),
        (OutOfBounds, "as_strided"),
    ],
)
def test_each_way_out_is_refused_in_one_line_and_can_be_trusted(network, pattern, save):
    path = save(network().eval())
    reason = refusal(path)
    assert pattern in reason
    assert "--trust" in reason
    assert "\n" not in reason
    assert refusal(path, trust=True) is None


def test_a_refused_file_is_not_executed(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(Writing().eval())
    with pytest.raises(ModelError, match="reads or writes files"):
        open_model(path)
    assert not (tmp_path / "written-by-the-model").exists()


@pytest.mark.parametrize(
    "disguise",
    [
        b"torch . save(",
        b"torch.\\\n  save(",
        b"(torch).save(",
        b'getattr(torch, "save")(',
        b"ops.aten.save(",
        b"torch. # harmless\n save(",
    ],
)
def test_disguised_spellings_of_a_file_operator_are_refused(disguise, save):
    path = rewrite(save(Writing().eval()), in_code(b"torch.save(", disguise))
    assert "aten::save" in refusal(path)


def test_code_under_another_suffix_is_read_too(save):
    def rename(name, data):
        return [(name.replace(".py", ".PY") if name.endswith(".py") else name, data)]

    assert "aten::save" in refusal(rewrite(save(Writing().eval()), rename))


def test_an_operator_of_a_foreign_package_is_named(save):
    path = rewrite(save(Honest().eval()), in_code(b"torch.relu(", b"ops.torchvision.nms("))
    reason = refusal(path)
    assert "torchvision::nms" in reason
    assert "not part of entangle" in reason


def test_a_renamed_operator_table_is_refused(save):
    path = rewrite(save(Honest().eval()), in_code(b"torch.relu(", b"(ops).aten.relu("))
    assert refusal(path) is not None


def test_foreign_globals_in_the_data_are_refused(save):
    class Harmful:
        def __reduce__(self):
            return print, ("executed",)

    def poison(name, data):
        return [(name, pickle.dumps(Harmful(), 2) if name.endswith("data.pkl") else data)]

    reason = refusal(rewrite(save(Honest().eval()), poison))
    assert "__builtin__.print" in reason


def test_newer_pickle_opcodes_that_hide_names_are_refused(save):
    def poison(name, data):
        return [(name, pickle.dumps(Honest, 4) if name.endswith("constants.pkl") else data)]

    assert "STACK_GLOBAL" in refusal(rewrite(save(Honest().eval()), poison))


def test_two_members_of_one_name_are_refused(save):
    def double(name, data):
        return [(name, data), (name.upper(), data)] if name.endswith("data.pkl") else [(name, data)]

    path = rewrite(save(Honest().eval()), double)
    assert "same name" in refusal(path)
    assert "same name" in refusal(path, trust=True)


def test_members_outside_the_one_folder_are_refused(save):
    def leave(name, data):
        return [(name, data), ("other/x", b"")] if name.endswith("data.pkl") else [(name, data)]

    assert "one folder" in refusal(rewrite(save(Honest().eval()), leave))


def test_a_flipped_byte_in_the_weights_is_found(save):
    path = save(Honest().eval())
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("/data/0"))
    data = bytearray(path.read_bytes())
    name_and_extra = int.from_bytes(data[member.header_offset + 26 :][:2], "little")
    name_and_extra += int.from_bytes(data[member.header_offset + 28 :][:2], "little")
    data[member.header_offset + 30 + name_and_extra] ^= 1
    path.write_bytes(data)
    assert "wrong checksum" in refusal(path)


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(save):
    path = save(Honest().eval()).with_name("bomb.pt")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr("m/code/x.py", "")
        archive.writestr("m/data/0", b"")
    data = path.read_bytes()
    # the listing claims four gigabytes: size fields of the last entry of the central directory
    entry = data.rindex(b"PK\x01\x02")
    size = (4_000_000_000).to_bytes(4, "little")
    path.write_bytes(data[: entry + 24] + size + data[entry + 28 :])
    assert "unpacks to 4 GB" in refusal(path)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_cut_file_is_refused_in_one_line(share, save):
    path = save(Honest().eval())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut or damaged" in refusal(path)
