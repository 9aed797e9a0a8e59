import h5py
import numpy as np
import pytest
from formats import write_h5

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import DataError

X = np.arange(40.0).reshape(10, 4)


def test_a_group_holds_a_data_set(tmp_path):
    path = write_h5(tmp_path / "a.h5", **{"one/x": X, "one/y": np.arange(10), "two/x": X[:2]})
    dataset = open_dataset(f"{path}::one")
    assert dataset.labels.tolist() == list(range(10))
    assert len(open_dataset(f"{path}::two/x")) == 2
    with pytest.raises(DataError, match="no 'three' in /"):
        open_dataset(f"{path}::three")


def test_groups_named_after_splits_are_splits(tmp_path):
    path = write_h5(tmp_path / "a.h5", **{"train/x": X, "test/x": X[:3], "test/y": [0, 1, 2]})
    assert len(open_dataset(f"{path}@train")) == 10
    dataset = open_dataset(str(path))
    assert len(dataset) == 3
    assert "took @test" in dataset.notes[0]


def test_rows_far_apart_are_read_in_any_order(tmp_path):
    values = np.arange(5000)
    path = write_h5(tmp_path / "a.h5", x=values)
    rows = np.random.default_rng(0).integers(0, 5000, 300)
    assert np.array_equal(open_dataset(str(path)).arrays(rows)["x"], values[rows])


def test_text_labels_and_names_in_an_attribute_are_kept(tmp_path):
    path = write_h5(tmp_path / "a.h5", x=X[:3])
    with h5py.File(path, "a") as file:
        file["labels"] = ["dog", "cat", "dog"]
    assert open_dataset(str(path)).class_names == ("cat", "dog")
    path = write_h5(tmp_path / "b.h5", x=X[:2], y=[1, 0])
    with h5py.File(path, "a") as file:
        file.attrs["class_names"] = ["cat", "dog"]
    assert open_dataset(str(path)).class_names == ("cat", "dog")


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_ordinary_compression_is_read(tmp_path, compression):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, compression=compression, shuffle=True, fletcher32=True)
    assert np.array_equal(open_dataset(str(tmp_path / "a.h5")).arrays([7])["x"], X[[7]])


def _external_link(file, secret):
    file["x"] = h5py.ExternalLink(str(secret), "/x")


def _soft_link(file, secret):
    file["x"] = h5py.SoftLink("/y")
    file["y"] = h5py.SoftLink("/x")


def _external_storage(file, secret):
    file.create_dataset("x", (4,), "u1", external=[(str(secret), 0, 4)])


def _virtual(file, secret):
    layout = h5py.VirtualLayout((10, 4), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (10, 4))
    file.create_virtual_dataset("x", layout)


def _unknown_filter(file, secret):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((5,))
    plan.set_filter(32123, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((10,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, plan)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_external_link, "an external link, which is not followed"),
        (_soft_link, "a soft link, which is not followed"),
        (_external_storage, "its values lie in other files"),
        (_virtual, "its values lie in other files"),
        (_unknown_filter, "filter 32123, which needs a plug-in"),
    ],
)
@pytest.mark.parametrize("inside", ["", "::x"])
def test_nothing_outside_the_file_is_read(tmp_path, make, message, inside):
    secret = write_h5(tmp_path / "secret.h5", x=X)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, secret)
    with pytest.raises(DataError, match=message):
        open_dataset(f"{tmp_path}/a.h5{inside}")


def test_labels_are_not_taken_through_a_link(tmp_path):
    secret = write_h5(tmp_path / "secret.h5", y=np.arange(10))
    path = write_h5(tmp_path / "a.h5", x=X)
    with h5py.File(path, "a") as file:
        file["y"] = h5py.ExternalLink(str(secret), "/y")
    for inside in ("", "::x"):
        with pytest.raises(DataError, match="external link"):
            open_dataset(f"{path}{inside}")


def test_a_damaged_file_is_one_line(tmp_path):
    path = write_h5(tmp_path / "a.h5", x=X)
    data = path.read_bytes()
    for end in (100, len(data) // 2):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match="cannot be read as HDF5") as caught:
            open_dataset(str(path))
        assert "\n" not in str(caught.value)


def test_stored_activations_are_told_from_data(tmp_path):
    path = write_h5(tmp_path / "a.h5", x=X)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "entangle-activations"
    with pytest.raises(DataError, match="stored activations"):
        open_dataset(str(path))


def test_damage_met_while_reading_rows_is_one_line(tmp_path):
    path = tmp_path / "a.h5"
    noise = np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=noise, chunks=(500, 8, 8), compression="gzip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    dataset = open_dataset(str(path))
    with pytest.raises(DataError, match="cannot be read") as caught:
        dataset.images(range(2000))
    assert "\n" not in str(caught.value)
