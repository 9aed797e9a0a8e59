import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="figures need the extra 'report'")

from entangle_cli.report.strips import Strip, draw_strips


def test_a_strip_shows_the_input_and_a_row_per_layer(tmp_path):
    random = np.random.default_rng(0)
    gray = [random.integers(0, 256, (8, 8, 1), dtype=np.uint8) for _ in range(4)]
    color = [random.random((8, 8, 3)).astype(np.float32) for _ in range(2)]
    strips = [Strip("conv1>relu", gray, list("abcd")), Strip("fc", color, ["$x", "\x1b[1m"])]
    draw_strips(tmp_path / "a.png", "an input", gray[0], strips)
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_the_same_strip_is_the_same_file(tmp_path):
    image = np.zeros((4, 4, 1), np.uint8)
    for name in ("a.png", "b.png"):
        draw_strips(tmp_path / name, "t", image, [Strip("fc", [image], ["0"])])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
