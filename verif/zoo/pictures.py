"""Pictures that installed packages bring, and text that is drawn with their fonts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verif.zoo.files import file_of

#: A photograph of Grace Hopper by the United States Navy; the box of her face: left, top, side.
PORTRAIT = ("matplotlib", "sample_data/grace_hopper.jpg")
FACE = (170, 40, 220)
FONT = ("matplotlib", "fonts/ttf/DejaVuSans.ttf")
#: Photographs in scikit-learn.
SCENES = ("images/china.jpg", "images/flower.jpg")
WORDS = (
    *("array", "compile", "Logarithm", "table 42", "octave", "3.1416", "product", "Kernel"),
    *("row 7 of 9", "bias", "2026", "weights", "softmax", "grid 4x4", "Result", "1,024"),
    *("stream", "exit code", "cycles", "PAL16", "Model", "layer 12", "input", "output"),
)


def _open(package: str, ending: str) -> Any:
    from PIL import Image

    return Image.open(file_of(package, ending)).convert("RGB")


@cache
def portrait() -> Any:
    """The photograph of a person."""
    return _open(*PORTRAIT)


@cache
def scenes() -> tuple[Any, ...]:
    """Photographs of a palace and of a flower."""
    return tuple(_open("scikit-learn", name) for name in SCENES)


def pixels(picture: Any, width: int, height: int) -> NDArray[np.float32]:
    """Numbers 0 to 255 (height, width, 3) of a picture at another size."""
    return np.asarray(picture.resize((width, height)), np.float32)


def crops(size: int, count: int) -> list[NDArray[np.float32]]:
    """Squares (size, size, 3): every other one of the face, a little moved and scaled, the rest
    from anywhere in the photographs."""
    rng, found = np.random.default_rng(size), []
    for i in range(count):
        if i % 2:
            picture = (portrait(), *scenes())[i // 2 % 3]
            side = int(rng.integers(60, 200))
            left, top = (int(rng.integers(0, n - side)) for n in picture.size)
        else:
            picture, side = portrait(), int(FACE[2] * rng.uniform(0.8, 1.3))
            middle = [p + FACE[2] / 2 + FACE[2] * rng.uniform(-0.08, 0.08) for p in FACE[:2]]
            left, top = (max(0, round(m - side / 2)) for m in middle)
        found.append(pixels(picture.crop((left, top, left + side, top + side)), size, size))
    return found


def written(texts: Sequence[str], width: int, height: int, seed: int = 0) -> NDArray[np.float32]:
    """Numbers 0 to 255 (height, width, 3): dark lines of text, one below another, on a light
    ground with some noise."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), tuple(int(x) for x in rng.integers(200, 256, 3)))
    room = height / len(texts)
    for i, text in enumerate(texts):
        size = room * rng.uniform(0.6, 0.75)
        font = ImageFont.truetype(str(file_of(*FONT)), size)
        size *= min(1.0, 0.95 * width / font.getlength(text))
        font = ImageFont.truetype(str(file_of(*FONT)), size)
        colour = tuple(int(x) for x in rng.integers(0, 90, 3))
        place = (width * 0.02, room * i + (room - size) / 2.6)
        ImageDraw.Draw(picture).text(place, text, colour, font)
    noise = rng.normal(0, 3, (height, width, 1))
    return np.clip(np.asarray(picture, np.float32) + noise, 0, 255).astype(np.float32)


def first(pictures: NDArray) -> NDArray[np.float32]:
    """Channels first, in a batch of one."""
    return np.ascontiguousarray(np.moveaxis(pictures, -1, 0)[None], np.float32)
