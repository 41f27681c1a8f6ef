"""Comparisons whose failures name the place, the expected and the found value."""

from collections.abc import Mapping

from spu.arch.bitstream import Image
from spu.arch.config import TILE_SPACES, words_per_row
from spu.arch.packing import to_words
from spu.model.words import Stream


def image_differences(expected: Image, found: Image) -> list[str]:
    """Every configuration word in which two images differ; rows never written are 0."""
    out = []
    for key in sorted(
        expected.rows.keys() | found.rows.keys(), key=lambda k: (k[1], k[2], k[0].value)
    ):
        space, r, c = key
        width = words_per_row(space, expected.arch)
        place = f"tile ({r},{c})" if space in TILE_SPACES else f"region {r}"
        want_rows, got_rows = expected.rows.get(key, {}), found.rows.get(key, {})
        for row in sorted(want_rows.keys() | got_rows.keys()):
            want, got = want_rows.get(row, 0), got_rows.get(row, 0)
            for word, (a, b) in enumerate(
                zip(to_words(want, width), to_words(got, width), strict=True)
            ):
                if a != b:
                    out.append(
                        f"{place} {space.name.lower()} row {row} word {word}: "
                        f"expected {a:#010x}, got {b:#010x}"
                    )
    return out


def stream_differences(
    expected: Mapping[int, Stream], found: Mapping[int, Stream], row: int
) -> list[str]:
    """Every output word that differs, is missing or is too much; ``row`` is the last row."""
    out = []
    for c, words in expected.items():
        got = found.get(c, [])
        for i in range(max(len(words), len(got))):
            want_text, got_text = (
                f"{s[i][0]:#x}/{s[i][1]:02x}" if i < len(s) else "none" for s in (words, got)
            )
            if want_text != got_text:
                out.append(
                    f"tile ({row},{c}) output word {i}: expected {want_text}, got {got_text}"
                )
    return out
