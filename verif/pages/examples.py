"""Examples of the pages: shell sessions and Python sessions, run as they would be pasted.

A *block* is what stands between fences.  Lines that begin with ``$`` are commands, with their
output below; they run in order, block after block, in a directory that looks like a checkout and
has a ``build/`` of its own, the commands of ``.venv`` on the path.  ``>>>`` are Python's.

What varies is masked by the rules of ``MASKS``, and nothing else.  ``SECONDS`` keeps how much
processor time each shell block took: the tests of CI run those of at most ``QUICK`` seconds, and
one that was not measured counts as longer.
``python -m verif.pages.examples`` measures all blocks anew, or those of the pages that are its
arguments.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = Path(__file__).with_name("example_seconds.json")
#: What make tells those that it runs, by which another make prints more.
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
#: Processor seconds of a block that CI runs.
QUICK = 30
#: Wall seconds after which a command counts as hanging.
LIMIT = 3600
#: Pattern and what stands for it: lines of progress, seconds in text, seconds in a table.
MASKS = (
    (re.compile(r"^\.\.\. .*\n", re.M), ""),
    (re.compile(r"\b\d+\.\d+ s\b"), "# s"),
    (re.compile(r"(│ seconds[^│]*│ )[\d.]+ *(?=│)"), r"\1# "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: commands with their outputs, in order."""

    page: str
    steps: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The first command, by which ``SECONDS`` knows the block."""
        return self.steps[0][0]


def pages() -> list[Path]:
    """Every page that has examples of any kind."""
    return [
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
        ROOT / "pal_units" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def fenced(text: str) -> Iterator[str]:
    """Contents of the blocks of a page."""
    for found in re.finditer(r"^```\w*\n(.*?)^```$", text, re.M | re.S):
        yield found[1]


def blocks(page: Path) -> list[Block]:
    """Shell sessions of a page."""
    found = []
    for text in fenced(page.read_text()):
        steps: list[list[str]] = []
        for line in text.splitlines(keepends=True):
            if line.startswith("$ "):
                steps.append([line[2:].rstrip("\n"), ""])
            elif steps:
                steps[-1][1] += line
        if steps:
            found.append(Block(str(page.relative_to(ROOT)), tuple((c, o) for c, o in steps)))
    return found


def masked(text: str) -> str:
    """Output without what varies."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def checkout(folder: Path) -> None:
    """Make a folder look like a checkout after ``make setup``, with an empty ``build``."""
    (folder / "build").mkdir()
    (folder / ".venv").mkdir()
    for source, target in ((ROOT, folder), (Path(sys.prefix), folder / ".venv")):
        for path in source.iterdir():
            if path.name not in ("build", ".venv", ".git"):
                (target / path.name).symlink_to(path)
    # Newer than what it is made of, so that make leaves the environment alone.
    (folder / ".venv" / "ready").unlink(missing_ok=True)
    (folder / ".venv" / "ready").touch()


def run(block: Block, folder: Path) -> list[str]:
    """Run a block in a checkout; what differs from the page, as lines."""
    path = os.pathsep.join((str(Path(sys.prefix) / "bin"), os.environ["PATH"]))
    wrong = []
    for command, wanted in block.steps:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
            env={k: v for k, v in os.environ.items() if k not in OF_MAKE} | {"PATH": path},
        )
        got = done.stdout.decode(errors="replace")
        if masked(got) != masked(wanted):
            wrong.append(f"{block.page}: $ {command}\nprints\n{got}\nand not\n{wanted}")
        if done.returncode not in ((2,) if "spu: error: " in wanted else (0,)):
            wrong.append(f"{block.page}: $ {command}\nexits with {done.returncode}\n{got}")
    return wrong


def run_page(page: Path, slow: bool, measured: dict[str, float] | None = None) -> list[str]:
    """Run the blocks of a page in order in a fresh checkout; what differs.

    Without ``slow``, those that took more than ``QUICK`` seconds are left out.  ``measured`` gets
    the processor seconds of each.
    """
    seconds, wrong = kept(page), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkout(folder)
        before = {p.name for p in folder.iterdir()}
        for block in blocks(page):
            if slow or seconds.get(block.name, LIMIT) <= QUICK:
                start = _processor_seconds()
                wrong += run(block, folder)
                if measured is not None:
                    measured[block.name] = round(_processor_seconds() - start, 1)
        left = sorted({p.name for p in folder.iterdir()} - before)
        if left:
            wrong.append(f"{page.relative_to(ROOT)}: its examples leave {left} outside build/")
    return wrong


def kept(page: Path) -> dict[str, float]:
    """Processor seconds of the blocks of a page, as they were measured."""
    found: dict[str, float] = json.loads(SECONDS.read_text()).get(str(page.relative_to(ROOT)), {})
    return found


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(names: Sequence[str]) -> int:
    """Measure; 1 if an example is not as its page shows."""
    found, wrong = json.loads(SECONDS.read_text()), []
    for page in [ROOT / name for name in names] or [p for p in pages() if blocks(p)]:
        measured: dict[str, float] = {}
        wrong += run_page(page, slow=True, measured=measured)
        found[str(page.relative_to(ROOT))] = measured
        SECONDS.write_text(json.dumps(found, indent=1) + "\n")
    print("\n\n".join(wrong) or f"{SECONDS}: all examples are as the pages show them")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
