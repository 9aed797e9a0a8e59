import io

import numpy as np
import pytest
from formats import png_bytes
from PIL import Image

from entangle_cli.datasets.formats.images import decode, traits
from entangle_cli.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encoded(image: Image.Image, format="PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_grey_pixels_survive_every_lossless_format(format):
    pixels = decode(encoded(Image.fromarray(RAMP), format), "x")
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], RAMP)


def test_webp_and_jpeg_are_read():
    image = Image.fromarray(np.full((8, 8, 3), 100, np.uint8))
    for format in ("WEBP", "JPEG"):
        assert abs(int(decode(encoded(image, format), "x").mean()) - 100) <= 2


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    data = encoded(Image.fromarray(values))
    assert decode(data, "x")[..., 0].tolist() == [[0, 1, 128, 255]]
    assert traits(data, "x") == ["16-bit images scaled to 8 bits"]


def test_one_bit_becomes_black_and_white():
    data = encoded(Image.fromarray(RAMP > 127))
    assert set(decode(data, "x").ravel()) == {0, 255}
    assert traits(data, "x") == ["1-bit images made grey"]


def test_alpha_is_dropped_and_the_color_below_it_stays():
    pixels = np.dstack([RAMP, RAMP.T, RAMP, np.zeros_like(RAMP)])
    data = encoded(Image.fromarray(pixels))
    assert np.array_equal(decode(data, "x"), pixels[..., :3])
    assert traits(data, "x") == ["images with alpha: alpha dropped"]
    grey = encoded(Image.fromarray(np.dstack([RAMP, RAMP])))
    assert np.array_equal(decode(grey, "x")[..., 0], RAMP)


def test_a_palette_is_looked_up():
    image = Image.fromarray(np.full((4, 4, 3), (200, 10, 30), np.uint8)).quantize(4)
    assert decode(encoded(image), "x")[0, 0].tolist() == [200, 10, 30]


def test_cmyk_becomes_rgb():
    data = encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF")
    assert decode(data, "x")[0, 0].tolist() == [255, 0, 0]
    assert traits(data, "x") == ["CMYK images made RGB"]


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :8] = 255
    data = encoded(Image.fromarray(wide), "PNG", exif=exif)
    upright = decode(data, "x")
    assert upright.shape == (16, 8, 3)
    assert upright[0].min() == 255
    assert traits(data, "x") == ["images turned upright by their EXIF orientation"]
    jpeg = encoded(Image.fromarray(wide), "JPEG", exif=exif)
    assert decode(jpeg, "x").shape == (16, 8, 3)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, "x")[0, 0, 0] == 10
    assert "images with several frames: first frame taken" in traits(data, "x")


def test_an_image_cut_short_is_refused_not_filled_up():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for format in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(noise), format)
        with pytest.raises(DataError, match=r"photo\.x: cannot be decoded"):
            decode(data[: len(data) // 2], "photo.x")


def test_an_image_of_too_many_pixels_is_refused_before_decoding():
    data = bytearray(png_bytes(RAMP))
    data[16:24] = (10_000).to_bytes(4, "big") * 2
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(bytes(data), "x")
    bomb = encoded(Image.new("1", (9000, 8000)))
    with pytest.raises(DataError, match="more than 64 million pixels"):
        decode(bomb, "x")


def test_other_formats_under_an_image_name_are_refused():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    with pytest.raises(DataError, match="none of PNG, JPEG"):
        decode(postscript, "x.png")


def test_float_pixels_of_unknown_range_are_refused():
    data = encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF")
    with pytest.raises(DataError, match="unknown range"):
        decode(data, "x")


def test_damaged_bytes_raise_nothing_but_a_data_error_of_one_line():
    generator = np.random.default_rng(0)
    messages = []
    for format in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"):
        good = np.frombuffer(encoded(Image.fromarray(RAMP), format), np.uint8)
        for _ in range(60):
            bad = good.copy()
            bad[generator.integers(0, len(bad), 6)] = generator.integers(0, 256, 6)
            try:
                traits(bad.tobytes(), "x")
                decode(bad.tobytes(), "x")
            except DataError as error:
                messages.append(str(error))
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)
