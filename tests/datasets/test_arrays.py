"""What counts as images, in .npz and .npy files."""

import io
import zipfile

import numpy as np
import pytest
from formats import write_zip
from numpy.lib import format as npy_format

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import DataError


def opened(folder, **arrays):
    np.savez(folder / "set.npz", **arrays)
    return open_dataset(str(folder / "set.npz"))


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((5, 8, 9), (8, 9, 1)),
        ((5, 8, 9, 1), (8, 9, 1)),
        ((5, 8, 9, 3), (8, 9, 3)),
        ((5, 1, 8, 9), (8, 9, 1)),
        ((5, 3, 8, 9), (8, 9, 3)),
        ((5, 3, 8, 3), (3, 8, 3)),
        ((5, 4, 8, 9), (8, 9, 4)),
    ],
)
def test_bytes_with_the_axes_of_images_are_images(tmp_path, shape, image):
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    dataset = opened(tmp_path, x=values)
    assert dataset.kind == "images"
    assert dataset.images([4])[0].shape == image
    assert sorted(dataset.images([4])[0].ravel()) == sorted(values[4].ravel())


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((5, 784), np.uint8),
        np.zeros((5, 7), np.float64),
        np.zeros((5, 7, 7), np.float32),
        np.zeros((5, 20), np.int64),
        np.zeros((5, 3, 8, 8), np.int64),
        np.zeros((5, 16, 8, 8), np.float32),
        np.zeros(5, np.float32),
    ],
    ids=["pixel rows", "features", "float maps", "tokens", "ints", "many channels", "scalars"],
)
def test_other_arrays_pass_untouched(tmp_path, values):
    dataset = opened(tmp_path, x=values)
    assert dataset.kind == "arrays"
    arrays = dataset.arrays([3, 0])
    assert list(arrays) == ["x"]
    assert arrays["x"].dtype == values.dtype
    assert arrays["x"].shape == (2, *values.shape[1:])


def test_float_images_are_told_by_their_range(tmp_path):
    unit = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    unit[0, 0, 0, 0] = 1
    plain = opened(tmp_path, x=unit)
    assert np.array_equal(plain.images([1])[0][..., 0], unit[1, 0])
    bytes_like = opened(tmp_path, x=np.round(unit.astype(np.float64) * 255))
    assert bytes_like.images([1])[0].dtype == np.float32
    assert np.allclose(bytes_like.images([1])[0][..., 0], unit[1, 0], atol=1 / 500)
    assert bytes_like.notes[-1].endswith("taken as pixels 0-255")
    normalized = opened(tmp_path, x=unit - 0.5)
    assert normalized.kind == "arrays"
    assert "normalized already" in normalized.notes[-1]
    assert opened(tmp_path, x=unit * 1.3).kind == "arrays"


def test_under_the_name_images_less_is_enough(tmp_path):
    assert opened(tmp_path, images=np.zeros((5, 7, 7), np.float32)).kind == "images"
    rows = opened(
        tmp_path, images=np.arange(3 * 784, dtype=np.uint16).astype(np.uint8).reshape(3, -1)
    )
    assert rows.images([2])[0].shape == (28, 28, 1)
    assert "784 pixels a row read as 28x28 images" in rows.notes


def test_several_arrays_are_named_inputs_and_0d_ones_constants(tmp_path):
    dataset = opened(tmp_path, input=np.ones((4, 6)), state=np.zeros((4, 2)), sr=16000)
    arrays = dataset.arrays([1, 2])
    assert {name: a.shape for name, a in arrays.items()} == {
        "input": (2, 6),
        "state": (2, 2),
        "sr": (),
    }
    assert arrays["sr"] == 16000


def test_beside_images_other_arrays_are_left_out_with_a_note(tmp_path):
    dataset = opened(tmp_path, images=np.zeros((2, 4, 4), np.uint8), boxes=np.zeros((2, 4)))
    assert dataset.notes[0] == "arrays not used: boxes"


def test_ids_and_class_names_beside_the_data_are_no_inputs(tmp_path):
    dataset = opened(
        tmp_path, x=np.ones((2, 3)), y=[1, 0], ids=["a", "b"], class_names=["cat", "dog"]
    )
    assert list(dataset.arrays([0])) == ["x"]
    assert dataset.class_names == ("cat", "dog")


def test_splits_in_key_names_are_chosen_by_at(tmp_path):
    arrays = {f"{s}_{k}": np.full((n, 2), n) for s, n in (("train", 3), ("val", 2)) for k in "x"}
    np.savez(tmp_path / "set.npz", **arrays, train_y=[0, 1, 2], val_y=[5, 6])
    dataset = open_dataset(f"{tmp_path}/set.npz@validation")
    assert dataset.labels.tolist() == [5, 6]
    assert dataset.arrays([0])["x"].tolist() == [[2, 2]]
    with pytest.raises(DataError, match="add @split"):
        open_dataset(f"{tmp_path}/set.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bad_content_is_refused(tmp_path, save):
    def message(**arrays):
        save(tmp_path / "set.npz", **arrays)
        with pytest.raises(DataError) as caught:
            open_dataset(str(tmp_path / "set.npz"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "arrays of different lengths (a 2, b 3)" in message(a=np.ones(2), b=np.ones(3))
    assert "no samples" in message(x=np.ones((0, 3)))
    assert "row 1 of 'x' is not finite" in message(x=np.array([[1.0], [np.nan]]))
    assert "row 0 of 'x' is not finite" in message(x=np.array([[np.inf], [0]]))
    assert "never loaded" in message(x=np.array([{}, []], dtype=object))
    assert "give an array of numbers" in message(x=np.array(["a", "b"]))
    assert "no array for the samples" in message(labels=np.ones(3))
    assert "3 samples but 2 labels" in message(x=np.ones((3, 1)), y=[0, 1])
    assert "no array with one row per sample" in message(a=1, b=2)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_archive_with_an_array_twice_is_refused(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("x.npy", stream.getvalue())
    with pytest.raises(DataError, match="twice"):
        open_dataset(str(tmp_path / "set.npz"))


def huge_header() -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**30)}
    npy_format.write_array_header_1_0(stream, header)
    return stream.getvalue() + b"\0" * 64


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    (tmp_path / "x.npy").write_bytes(huge_header())
    write_zip(tmp_path / "x.npz", {"x.npy": huge_header()})
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match="but 64 bytes follow"):
            open_dataset(str(tmp_path / name))


def test_an_array_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 5)))
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data[:-8])
    with pytest.raises(DataError, match="192 bytes follow"):
        open_dataset(str(tmp_path / "x.npy"))


def test_pickled_objects_in_npy_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="never loaded"):
        open_dataset(str(tmp_path / "x.npy"))


def test_big_arrays_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(4, 3))
    dataset = open_dataset(str(tmp_path / "x.npy"))
    rows = dataset.arrays([2])["x"]
    assert rows.tolist() == [[6, 7, 8]]
    assert dataset.labels is None
    assert "x_labels.npy beside it would give them" in dataset.notes[0]


def test_fortran_order_and_other_byte_orders_are_read(tmp_path):
    values = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "x.npy", np.asfortranarray(values.astype(">f4")))
    read = open_dataset(str(tmp_path / "x.npy")).arrays([3, 0])["x"]
    assert read.tolist() == [[9, 10, 11], [0, 1, 2]]
    assert read.dtype == np.float32
    assert read.dtype.isnative


def test_a_file_cut_while_in_use_is_an_error_and_no_crash(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((50, 3)))
    dataset = open_dataset(str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    with pytest.raises(DataError, match="became shorter while in use"):
        dataset.arrays([40])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_archives_raise_nothing_but_a_data_error_of_one_line(tmp_path, save):
    path = tmp_path / "set.npz"
    save(path, images=np.arange(128, dtype=np.uint8).reshape(2, 8, 8), labels=[0, 1])
    good = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    messages = []
    for _ in range(150):
        bad = good.copy()
        bad[generator.integers(0, len(bad), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(bad.tobytes())
        try:
            open_dataset(str(path)).images([0, 1])
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)


def test_a_header_that_is_no_header_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((6, 8)))
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data.replace(b"(6, 8)", b"(6, 8("))
    with pytest.raises(DataError, match=r"not a \.npy array, or a damaged one"):
        open_dataset(str(tmp_path / "x.npy"))
