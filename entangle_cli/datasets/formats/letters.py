"""Letters drawn on the spot: an out-of-distribution set for networks that know digits."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHJK"


def draw_letters(count: int, *, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Capital letters in Pillow's own font, each at its own size, place and slant.

    Returns images (count, size, size) uint8, white on black, and labels (count,) in 0..9 for
    A B C D E F G H J K (I is left out: it looks like a one).
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(LETTERS)
    images = np.stack([_draw(LETTERS[label], size, random) for label in labels])
    return images, labels


def _draw(letter: str, size: int, random: np.random.Generator) -> np.ndarray:
    scale = 8
    side = size * scale
    canvas = Image.new("L", (side, side), 0)
    font = ImageFont.load_default(side * random.uniform(0.95, 1.2))
    middle = side / 2 + random.uniform(-0.04, 0.04, 2) * side
    ImageDraw.Draw(canvas).text(tuple(middle), letter, fill=255, font=font, anchor="mm")
    canvas = canvas.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))


def write_letters(folder: Path, count: int, *, size: int = 8, seed: int = 0) -> None:
    """Draw letters into ``folder/<letter>/<number>.png``."""
    images, labels = draw_letters(count, size=size, seed=seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        inside = folder / LETTERS[label]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{number:04d}.png")
