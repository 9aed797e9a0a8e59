import numpy as np
import pytest
from scipy.io import loadmat, savemat

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.formats.matfile import read_matrices
from entangle_cli.errors import DataError


def test_label_ten_becomes_zero_and_is_counted(tmp_path):
    x = np.zeros((32, 32, 3, 4), np.uint8)
    savemat(tmp_path / "a.mat", {"X": x, "y": np.array([[10], [1], [9], [10]], np.uint8)})
    dataset = open_dataset(str(tmp_path / "a.mat"))
    assert dataset.labels.tolist() == [0, 1, 9, 0]
    assert dataset.notes == ("label 10 became 0 in 2 rows",)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "i8"])
def test_matrices_are_read_as_scipy_reads_them(tmp_path, compressed, dtype):
    values = {"a": np.arange(24).reshape(2, 3, 4).astype(dtype), "name": np.array([[7]], dtype)}
    savemat(
        tmp_path / "a.mat",
        {**values, "text": "abc", "complex": np.array([[1j]]), "cell": np.array([{}, 1], object)},
        do_compression=compressed,
    )
    expected = loadmat(tmp_path / "a.mat")
    found = {matrix.name: matrix.values for matrix in read_matrices(tmp_path / "a.mat")}
    for name in values:
        assert np.array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
    assert found["text"] is found["complex"] is found["cell"] is None


def test_one_image_alone_is_read(tmp_path):
    savemat(tmp_path / "a.mat", {"X": np.ones((8, 8, 3), np.uint8), "y": [[10]]})
    assert len(open_dataset(str(tmp_path / "a.mat"))) == 1


def test_other_variables_are_refused_with_what_is_there(tmp_path):
    savemat(tmp_path / "a.mat", {"images": np.zeros((3, 3))})
    with pytest.raises(DataError, match=r"not SVHN's X.*found images"):
        open_dataset(str(tmp_path / "a.mat"))


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_are_refused_in_one_line(tmp_path, compressed):
    path = tmp_path / "a.mat"
    content = {"X": np.zeros((8, 8, 3, 4), np.uint8), "y": np.ones((4, 1))}
    savemat(path, content, do_compression=compressed)
    good = path.read_bytes()
    messages = []
    generator = np.random.default_rng(0)
    for _ in range(200):
        bad = np.frombuffer(good, np.uint8).copy()
        bad[generator.integers(124, min(250, len(good)), 2)] = generator.integers(0, 256, 2)
        path.write_bytes(bad.tobytes())
        try:
            open_dataset(str(path))
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"a damaged \.mat file"):
        open_dataset(str(path))
