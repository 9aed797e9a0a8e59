"""The same tiny set written in every format reads back equal."""

import numpy as np
import pytest
from formats import (
    png_bytes,
    write_cifar_binary,
    write_cifar_python,
    write_folder,
    write_h5,
    write_idx,
    write_zip,
)
from scipy.io import savemat

from entangle_cli.datasets import limit, open_dataset
from entangle_cli.errors import DataError


def _folder(root, tiny):
    return write_folder(root / "set", tiny.color, tiny.labels)


def _split_folder(root, tiny):
    write_folder(root / "set" / "train", tiny.color[:2], tiny.labels[:2])
    write_folder(root / "set" / "test", tiny.color, tiny.labels)
    return f"{root / 'set'}@test"


def _zip(root, tiny):
    names = [f"wrapped/{label}/{row}.png" for row, label in enumerate(tiny.labels)]
    pictures = map(png_bytes, tiny.color)
    return write_zip(root / "set.zip", dict(zip(names, pictures, strict=True)))


def _table(root, tiny):
    lines = ["file_name,label"]
    for row, (image, label) in enumerate(zip(tiny.color, tiny.labels, strict=True)):
        (root / f"{row}.png").write_bytes(png_bytes(image))
        lines.append(f"{row}.png,{label}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def _npz(root, tiny):
    np.savez(root / "set.npz", images=tiny.color, labels=tiny.labels)
    return root / "set.npz"


def _npz_channels_first(root, tiny):
    x = np.moveaxis(tiny.color, -1, 1)
    np.savez_compressed(root / "set.npz", x_test=x, y_test=tiny.labels, x_train=x[:1], y_train=[0])
    return f"{root / 'set.npz'}@test"


def _npy(root, tiny):
    np.save(root / "images.npy", tiny.color)
    np.save(root / "labels.npy", tiny.labels)
    return root / "images.npy"


def _npy_fortran(root, tiny):
    np.save(root / "x.npy", np.asfortranarray(tiny.color))
    np.save(root / "y.npy", tiny.labels.astype(float))
    return root / "x.npy"


def _h5(root, tiny):
    return write_h5(root / "set.h5", data=tiny.color, targets=tiny.labels)


def _h5_inside(root, tiny):
    path = write_h5(root / "set.h5", **{"a/b/pictures": tiny.color, "a/labels": tiny.labels})
    return f"{path}::a/b/pictures"


def _cifar_python(root, tiny):
    return write_cifar_python(root / "cifar", tiny.color, tiny.labels)


def _cifar_binary(root, tiny):
    return write_cifar_binary(root / "cifar" / "test_batch.bin", tiny.color, tiny.labels).parent


def _mat(root, tiny):
    tens = np.where(tiny.labels == 0, 10, tiny.labels)[:, None]
    savemat(root / "set.mat", {"X": np.moveaxis(tiny.color, 0, -1), "y": tens})
    return root / "set.mat"


COLOR = {
    f.__name__.strip("_"): f
    for f in (
        _folder,
        _split_folder,
        _zip,
        _table,
        _npz,
        _npz_channels_first,
        _npy,
        _npy_fortran,
        _h5,
        _h5_inside,
        _cifar_python,
        _cifar_binary,
        _mat,
    )
}


@pytest.fixture(params=COLOR.values(), ids=COLOR.keys())
def reference(request, tmp_path, tiny):
    return str(request.param(tmp_path, tiny))


def test_every_color_format_reads_back_the_same_images_and_labels(reference, tiny):
    dataset = open_dataset(reference)
    assert dataset.kind == "images"
    assert np.array_equal(np.stack(dataset.images(range(6))), tiny.color)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == tiny.labels.tolist()


def test_rows_come_in_the_order_asked_for_and_may_repeat(reference, tiny):
    images = open_dataset(reference).images([5, 0, 5])
    assert np.array_equal(np.stack(images), tiny.color[[5, 0, 5]])


def test_opening_twice_gives_the_same_fingerprint_and_ids(reference):
    first, second = open_dataset(reference), open_dataset(reference)
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64
    assert list(first.ids) == list(second.ids)
    assert len(set(first.ids)) == len(first) == 6


def test_a_subset_has_its_own_rows_ids_and_fingerprint(reference, tiny):
    dataset = open_dataset(reference)
    part = dataset.take([4, 1])
    assert np.array_equal(part.images([0])[0], tiny.color[4])
    assert part.labels.tolist() == [2, 0]
    assert list(part.ids) == [dataset.ids[4], dataset.ids[1]]
    assert len({part.fingerprint, dataset.fingerprint, dataset.take([1, 4]).fingerprint}) == 3


def test_a_limit_keeps_classes_balanced_and_in_order(reference):
    part = limit(open_dataset(reference), 3, seed=0)
    assert part.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_idx_reads_back_the_grey_images(tmp_path, tiny, zipped):
    dataset = open_dataset(str(write_idx(tmp_path, tiny.grey[..., 0], tiny.labels, zipped=zipped)))
    assert np.array_equal(np.stack(dataset.images(range(6))), tiny.grey)
    assert dataset.labels.tolist() == tiny.labels.tolist()


def test_one_changed_pixel_changes_the_fingerprint(tmp_path, tiny):
    path = tmp_path / "set.npz"
    np.savez(path, images=tiny.color, labels=tiny.labels)
    before = open_dataset(str(path)).fingerprint
    changed = tiny.color.copy()
    changed[3, 0, 0, 0] ^= 1
    np.savez(path, images=changed, labels=tiny.labels)
    assert open_dataset(str(path)).fingerprint != before


def test_a_row_outside_the_data_set_is_an_index_error(tmp_path, tiny):
    dataset = open_dataset(str(_npz(tmp_path, tiny)))
    with pytest.raises(IndexError):
        dataset.images([6])


def test_images_are_not_given_out_as_arrays(tmp_path, tiny):
    with pytest.raises(DataError, match="holds images, not arrays"):
        open_dataset(str(_npz(tmp_path, tiny))).arrays([0])
