"""The page of the zoo, ``docs/zoo.md``, from the rows that are expected."""

import json
from collections.abc import Sequence

from spu.arch.files import replace_file
from spu.command.tables import markdown
from verif.pages.stamps import ZOO
from verif.zoo.expected import EXPECTED
from verif.zoo.judge import Row

HEAD = (
    "model",
    "nodes",
    "dB against float",
    "PAL in numpy, dB",
    "same sets, dB",
    "classes as in float",
    "sets: numpy / golden",
    "elements: numpy / golden",
    "cycles",
    "seconds",
)
_INTRODUCTION = """# Models that people have

Written by `python -m verif.zoo --bless`, which is `make zoo` with the figures kept. The models lie
in packages of PyPI, which the extra `zoo` and `requirements-zoo.lock` name; they are compiled as
the files are (`verif/zoo/models.py` is the table), with default options, `--calibrate` by sets of
inputs that are not measured, and where a model has such: sizes of open dimensions (`--dim`) and
numbers for scalar inputs (`--fix`).

*Float* is ONNX Runtime without optimisations. *PAL in numpy* is the exact prediction over all sets;
*dB against float* is the golden engine over the sets that it ran, *same sets* the prediction over
these: more than 1 dB between them fails. Decibels are those of the worst output. *Classes as in
float* is the share of sets, or of places in them, with the same first class. `make zoo` compares
every run with this page: it fails where a figure fell by more than 1 dB, where the share of like
classes fell by more than 0.01, or where the status changed.

"""


def cells(row: Row) -> list[str]:
    """A row of the table."""
    if row["status"] == "refused":
        first = row["refusals"][0] if row["refusals"] else ""
        return [row["model"], f"{row['nodes']}", f"refused: {first}", *([""] * (len(HEAD) - 3))]
    share = row["argmax_agreement"]
    return [
        row["model"],
        f"{row['nodes']}",
        *("exact" if row[key] is None else f"{row[key]:.1f}" for key in _DECIBELS),
        "-" if share is None else f"{share:.3f}",
        f"{row['samples']} / {row['golden_samples']}",
        f"{row['elements']:,} / {row['golden_elements']:,}",
        f"{row['cycles']:,}",
        f"{row['seconds']:.0f}",
    ]


_DECIBELS = ("sqnr_db", "predicted_db", "same_db")


def page(rows: Sequence[Row]) -> str:
    """Text of the page."""
    ran = [row for row in rows if row["status"] == "ran"]
    refused = [row for row in rows if row["status"] == "refused"]
    text = _INTRODUCTION + f"Of {len(rows)} models {len(ran)} ran.\n\n"
    text += markdown(HEAD, map(cells, ran))
    if refused:
        text += "\n## Refused\n\n"
        for row in refused:
            text += f"* **{row['model']}** ({row['source']}):\n"
            text += "".join(f"    * {reason}\n" for reason in row["refusals"])
    text += "\n## Where they come from\n\n"
    text += markdown(
        ("model", "file", "inputs", "operators"),
        (
            (
                row["model"],
                row["source"],
                row["inputs"],
                ", ".join(f"{n} {op}" for op, n in row["operators"].items()),
            )
            for row in rows
        ),
    )
    return text


def write(rows: Sequence[Row]) -> None:
    """Write the page and the rows that are expected."""
    kept = [{key: value for key, value in row.items() if key != "sources"} for row in rows]
    content = (json.dumps(kept, indent=1) + "\n").encode()
    replace_file(EXPECTED, lambda sink: sink.write(content))
    ZOO.write(page(rows), ZOO.sources())
