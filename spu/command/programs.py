"""Program files on disk: errors name the file, and the header says which array it is for."""

from collections.abc import Iterable
from pathlib import Path

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.params import CONFIGS, Architecture
from spu.command.common import BadInput

#: Bytes of the architecture hash in a header.
_HASH = slice(8, 12)


def read_program(path: Path, arch: Architecture) -> tuple[bytes, Image]:
    """A program file and what it configures; ``BadInput`` for one that is damaged or for another
    array."""
    content = path.read_bytes()
    try:
        return content, bitstream.decode(content, arch).image
    except bitstream.BitstreamError as error:
        more = (
            "; --arch takes the array that it is for"
            if error.reason == "wrong architecture"
            else ""
        )
        raise BadInput(f"{path}: {error}{more}") from None


def read_any(path: Path, arrays: Iterable[Architecture] = ()) -> Image:
    """What a program file configures in that one of ``CONFIGS`` and ``arrays`` that it is for.

    ``BadInput`` for one that is damaged, or for none of them.
    """
    content, known = path.read_bytes(), [*CONFIGS.values(), *arrays]
    given = int.from_bytes(content[_HASH], "little")
    arch = next((a for a in known if a.hash == given), known[0])
    try:
        return bitstream.decode(content, arch).image
    except bitstream.BitstreamError as error:
        what = (
            f"is for an architecture {given:#010x}, which is none of "
            + ", ".join(a.name for a in known)
            if error.reason == "wrong architecture"
            else str(error)
        )
        raise BadInput(f"{path}: {what}") from None
