import numpy as np
from PIL import Image

from entangle_cli.datasets.formats.letters import LETTERS, draw_letters, write_letters


def test_letters_are_drawn_the_same_for_one_seed_and_differ_for_another():
    first, labels = draw_letters(30, seed=1)
    again, _ = draw_letters(30, seed=1)
    other, _ = draw_letters(30, seed=2)
    assert first.shape == (30, 8, 8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.bincount(labels).tolist() == [3] * 10


def test_every_letter_has_ink_and_background():
    images, _ = draw_letters(50)
    assert (images.max(axis=(1, 2)) > 128).all()
    assert (images.min(axis=(1, 2)) < 64).all()


def test_letters_are_written_as_one_folder_per_class(tmp_path):
    write_letters(tmp_path, 20)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(LETTERS)
    images, _ = draw_letters(20)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "A" / "0000.png")), images[0])
