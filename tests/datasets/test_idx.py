import gzip

import numpy as np
import pytest
from formats import idx_bytes, write_idx

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.formats.idx import read_idx_array
from entangle_cli.errors import DataError


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_every_type_of_the_format_is_read(tmp_path, code, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "a").write_bytes(idx_bytes(values, code))
    assert np.array_equal(read_idx_array(tmp_path / "a")[...], values)


def test_pairs_are_splits_and_test_is_the_default(tmp_path, tiny):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels)
    write_idx(tmp_path, tiny.grey[:2, ..., 0], tiny.labels[:2], prefix="train", zipped=True)
    dataset = open_dataset(str(tmp_path))
    assert len(dataset) == 6
    assert "took @test" in dataset.notes[0]
    assert list(open_dataset(f"{tmp_path}@train").ids) == ["train/0", "train/1"]
    assert len(open_dataset(str(tmp_path / "train-images-idx3-ubyte.gz"))) == 2
    with pytest.raises(DataError, match="no split 'holdout'"):
        open_dataset(f"{tmp_path}@holdout")


def test_images_without_labels_are_an_unlabelled_set(tmp_path, tiny):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert open_dataset(str(tmp_path)).labels is None


def test_a_labels_file_is_no_data_set(tmp_path, tiny):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels)
    with pytest.raises(DataError, match="labels, not images"):
        open_dataset(str(tmp_path / "t10k-labels-idx1-ubyte"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("cut", "more"), [(1, b""), (0, b"x")])
def test_another_length_than_the_header_says_is_refused(tmp_path, tiny, zipped, cut, more):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels)
    path = tmp_path / "t10k-images-idx3-ubyte"
    data = path.read_bytes()
    data = data[: len(data) - cut] + more
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match=r"header says \(6, 32, 32\)"):
        open_dataset(str(tmp_path))


def test_gzip_data_cut_short_is_refused(tmp_path, tiny):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels, zipped=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged gzip data"):
        open_dataset(str(tmp_path))


def test_a_huge_header_is_refused_without_unpacking(tmp_path):
    header = idx_bytes(np.zeros((0, 2, 2), np.uint8))[:4] + b"\xff\xff\xff\xff" * 3
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + b"\0" * 99))
    with pytest.raises(DataError, match="unpacks to"):
        open_dataset(str(tmp_path))


def test_labels_of_another_length_are_refused(tmp_path, tiny):
    write_idx(tmp_path, tiny.grey[..., 0], tiny.labels[:5])
    with pytest.raises(DataError, match="6 samples but 5 labels"):
        open_dataset(str(tmp_path))
