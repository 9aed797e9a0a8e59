"""Encoded images become ``(h, w, c)`` uint8 arrays, by Pillow and its conventions.

What happens to what is not plain 8-bit grey or RGB, as in the loaders that networks are usually
trained with (``Image.convert("RGB")``):

* palette, CMYK, YCbCr, LAB, HSV become RGB; 1-bit becomes grey 0 or 255;
* alpha is dropped, the color below it stays;
* 16-bit grey is scaled, round(v / 257), never clipped;
* EXIF orientation is applied, so that pixels lie as a viewer shows them;
* of an animation or a multi-page file the first frame is taken.

`traits` names these cases from the header alone, so that a data set can count them without
decoding. Damaged files are refused: every pixel is decoded, none is invented.
"""

import io
import struct
import warnings
import zlib
from collections import Counter
from contextlib import contextmanager

import numpy as np
from PIL import Image

from entangle_cli.datasets.signature import refuse_stand_ins
from entangle_cli.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = tuple(
    f".{suffix}" for suffix in "png jpg jpeg jpe jfif bmp gif tif tiff webp ppm pgm pbm pnm".split()
)
PIXEL_LIMIT = 64_000_000

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_CONVERTED = {
    "1": "1-bit images made grey",
    "P": "palette images made RGB",
    "PA": "palette images made RGB",
    "CMYK": "CMYK images made RGB",
    "YCbCr": "YCbCr images made RGB",
    "LAB": "LAB images made RGB",
    "HSV": "HSV images made RGB",
    "LA": "images with alpha: alpha dropped",
    "La": "images with alpha: alpha dropped",
    "RGBA": "images with alpha: alpha dropped",
    "RGBa": "images with alpha: alpha dropped",
    **dict.fromkeys(_SIXTEEN_BIT, "16-bit images scaled to 8 bits"),
}
# what Pillow raises for damaged bytes, format by format
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def decode(data: bytes, where: object) -> np.ndarray:
    """All pixels of one encoded image: ``(h, w, 1)`` or ``(h, w, 3)`` uint8.

    Raises:
        DataError: not an image of an accepted format, damaged, or above the pixel limit.
    """
    with _pillow(where):
        with _opened(data, where) as image:
            image.load()
            plain = image if image.mode in ("L", "RGB") else _eight_bit(image, where)
            turn = _UPRIGHT.get(_orientation(image))
            pixels = np.asarray(plain if turn is None else plain.transpose(turn))
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


def traits(data: bytes, where: object) -> list[str]:
    """What the header says that `decode` would convert or leave out; empty for a plain image.

    Raises:
        DataError: not an image of an accepted format, or above the pixel limit.
    """
    with _pillow(where), _opened(data, where) as image:
        found = [_CONVERTED[image.mode]] if image.mode in _CONVERTED else []
        if _orientation(image) in _UPRIGHT:
            found.append("images turned upright by their EXIF orientation")
        if image.format != "MPO" and getattr(image, "is_animated", False):
            found.append("images with several frames: first frame taken")
        return found


def conversion_notes(counts: Counter[str], total: int) -> tuple[str, ...]:
    """One note per kind of conversion, with its count."""
    return tuple(f"{n} of {total} {what}" for what, n in sorted(counts.items()))


@contextmanager
def _pillow(where: object):
    """Pillow's complaints as one `DataError`; its warnings about bombs count as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except _DAMAGE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
                reason = f"more than {PIXEL_LIMIT // 1_000_000} million pixels"
            elif isinstance(error, Image.UnidentifiedImageError):
                reason = "none of " + ", ".join(FORMATS)
            raise DataError(
                f"{where}: cannot be decoded as an image ({reason}); replace or remove it"
            ) from None


def _opened(data: bytes, where: object) -> Image.Image:
    if data[:1] in (b"v", b"<", b""):
        refuse_stand_ins(data[:512], where)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > PIXEL_LIMIT:
        image.close()
        raise Image.DecompressionBombError
    return image


def _eight_bit(image: Image.Image, where: object) -> Image.Image:
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # uint32, as 65535 + 128 does not fit 16 bits
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(
            f"{where}: holds {image.mode} pixels of unknown range; store such data as .npy"
        )
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _orientation(image: Image.Image) -> int:
    # parsing EXIF costs more than a small image's decoding: look only where there is some
    if image.format == "JPEG" and "exif" not in image.info:
        return 1
    return image.getexif().get(_ORIENTATION, 1)
