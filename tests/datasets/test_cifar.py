import os
import pickle

import numpy as np
import pytest
from formats import write_cifar_binary, write_cifar_python

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import DataError


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_batches_are_put_together_in_their_order(tmp_path, tiny):
    for number in range(6):
        batch = f"data_batch_{number + 1}"
        write_cifar_python(tmp_path, tiny.color[[number]], tiny.labels[[number]], batch)
    dataset = open_dataset(str(tmp_path))
    assert np.array_equal(np.stack(dataset.images(range(6))), tiny.color)
    assert dataset.name == f"{tmp_path.name}@train"
    assert dataset.class_names == ("cat", "dog", "emu")
    assert dataset.ids[3] == "train/3"


def test_one_batch_file_is_a_data_set(tmp_path, tiny):
    write_cifar_python(tmp_path, tiny.color, tiny.labels)
    assert open_dataset(str(tmp_path / "test_batch")).labels.tolist() == tiny.labels.tolist()
    path = write_cifar_binary(tmp_path / "b" / "data_batch_1.bin", tiny.color, tiny.labels)
    assert open_dataset(str(path)).labels.tolist() == tiny.labels.tolist()


def test_cifar100_has_fine_and_coarse_labels(tmp_path, tiny):
    rows = np.moveaxis(tiny.color, -1, 1).reshape(6, -1)
    coarse = [1, 1, 0, 0, 1, 1]
    content = {"data": rows, "fine_labels": tiny.labels.tolist(), "coarse_labels": coarse}
    (tmp_path / "test").write_bytes(pickle.dumps(content))
    names = {"fine_label_names": ["a", "b", "c"], "coarse_label_names": ["x", "y"]}
    (tmp_path / "meta").write_bytes(pickle.dumps(names))
    assert open_dataset(str(tmp_path)).class_names == ("a", "b", "c")
    dataset = open_dataset(f"{tmp_path}::coarse@test")
    assert dataset.labels.tolist() == coarse
    assert dataset.class_names == ("x", "y")


def test_binary_cifar100_has_two_label_bytes(tmp_path, tiny):
    rows = np.moveaxis(tiny.color, -1, 1).reshape(6, -1)
    heads = np.stack([tiny.labels + 10, tiny.labels], axis=1).astype(np.uint8)
    (tmp_path / "test.bin").write_bytes(np.hstack([heads, rows]).tobytes())
    (tmp_path / "fine_label_names.txt").write_text("a\nb\nc\n")
    dataset = open_dataset(str(tmp_path))
    assert dataset.labels.tolist() == tiny.labels.tolist()
    assert dataset.class_names == ("a", "b", "c")
    assert np.array_equal(dataset.images([5])[0], tiny.color[5])
    assert open_dataset(f"{tmp_path}::coarse").labels.tolist() == (tiny.labels + 10).tolist()


@pytest.mark.parametrize("place", ["data", "labels", "extra"])
def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path, tiny, place):
    marker = tmp_path / "marker"
    rows = np.moveaxis(tiny.color, -1, 1).reshape(6, -1)
    content = {"data": rows, "labels": tiny.labels.tolist(), place: Attack(str(marker))}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"asks for posix\.mkdir"):
        open_dataset(str(tmp_path))
    assert not marker.exists()


def test_class_names_are_not_taken_from_a_hostile_pickle(tmp_path, tiny):
    write_cifar_python(tmp_path, tiny.color, tiny.labels)
    marker = tmp_path / "marker"
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(Attack(str(marker))))
    with pytest.raises(DataError, match="not a pickle of plain arrays"):
        open_dataset(str(tmp_path))
    assert not marker.exists()


def test_damaged_pickles_are_refused_in_one_line(tmp_path, tiny):
    write_cifar_python(tmp_path, tiny.color, tiny.labels)
    path = tmp_path / "test_batch"
    good = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(100):
        bad = good.copy()
        bad[generator.integers(0, 200, 3)] = generator.integers(0, 256, 3)
        path.write_bytes(bad.tobytes())
        try:
            open_dataset(str(tmp_path))
        except DataError:
            continue
    path.write_bytes(good[:500].tobytes())
    with pytest.raises(DataError, match="not a pickle"):
        open_dataset(str(tmp_path))


# what lies around the type of the pixels in a batch of protocol 2
_STATE = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"


@pytest.mark.parametrize(
    ("found", "put", "message"),
    [
        (_STATE, b"NJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", "other than numbers"),
        (_STATE, b"J\x4e\x4e\x4e\x4eJ\xff\xff\xff\xffK\x00t", "other than numbers"),
        (_STATE, b"NN" + b"}" + _STATE[3:], "other than numbers"),
        (_STATE, b"t", "other than numbers"),
        (b"X\x02\x00\x00\x00u1", b"X\x02\x00\x00\x00O8", "numbers of type 'O8'"),
        (b"X\x02\x00\x00\x00u1", b"X\x02\x00\x00\x00V8", "numbers of type 'V8'"),
        (b"X\x02\x00\x00\x00u1", b"X\x05\x00\x00\x00u1,u1", "numbers of type 'u1,u1'"),
        (b"K\x06M\x00\x0c\x86", b"K\x06M\x01\x0c\x86", "cannot reshape"),
        (b"K\x06M\x00\x0c\x86", b"J\xff\xff\xff\xffM\x00\x0c\x86", "other than numbers"),
        (b"cnumpy\ndtype\n", b"cnumpy\ndtype\n(tb", "a state for what has none"),
    ],
)
def test_states_that_numpy_would_trust_are_checked(tmp_path, tiny, found, put, message):
    write_cifar_python(tmp_path, tiny.color, tiny.labels)
    content = pickle.loads((tmp_path / "test_batch").read_bytes())
    good = pickle.dumps(content, 2).replace(b"numpy._core", b"numpy.core")
    assert found in good
    (tmp_path / "test_batch").write_bytes(good)
    assert len(open_dataset(str(tmp_path))) == len(tiny.labels)
    (tmp_path / "test_batch").write_bytes(good.replace(found, put, 1))
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<i8", ">i2", "u1"])
def test_labels_may_be_an_array_of_any_integers(tmp_path, tiny, kind, order):
    rows = np.asarray(np.moveaxis(tiny.color, -1, 1).reshape(6, -1), order=order)
    content = {"data": rows, "labels": tiny.labels.astype(kind)}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, 2))
    dataset = open_dataset(str(tmp_path))
    assert dataset.labels.tolist() == tiny.labels.tolist()
    assert np.array_equal(dataset.images([4])[0], tiny.color[4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "lacks 'data'"),
        ({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}, r"not uint8 \(n, 3072\)"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": ["a", "b"]}, "no list of integers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "2 samples but 1 labels"),
    ],
)
def test_another_content_is_refused(tmp_path, content, message):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path))


def test_a_binary_batch_cut_short_is_refused(tmp_path, tiny):
    path = write_cifar_binary(tmp_path / "test_batch.bin", tiny.color, tiny.labels)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="no whole number of rows"):
        open_dataset(str(tmp_path))
