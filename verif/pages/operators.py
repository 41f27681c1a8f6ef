"""The page of ONNX operators, from the list that the compiler goes by: part of ``make docs``."""

from pathlib import Path

from compiler.front.honoured import HONOURED, Honoured, versions_of
from compiler.front.learned import LEARNED

PATH = Path(__file__).parents[2] / "docs" / "operators.md"


def page() -> str:
    """Operators of the same versions and attributes share a row."""
    rows: dict[tuple[Honoured, tuple[int, ...]], list[str]] = {}
    for name, rule in sorted(HONOURED.items()):
        versions = tuple(v for v in versions_of(name) if v in rule.versions)
        rows.setdefault((rule, versions), []).append(name)
    lines = [
        "# ONNX operators, by version",
        "",
        "Written by `python -m verif.pages.operators` from the one list that the compiler goes by "
        "(`compiler/front/honoured.py`). *Versions* are the opsets in which the standard changed "
        "the operator; in the opset of a model the latest one before it holds. An attribute with "
        "`= n` is taken with this value only; *idle* ones change no value. Anything else is "
        "refused, with node, operator and rule: `spu check MODEL` lists all refusals of a model. "
        "Operators that the standard defines by others (HardSigmoid, Swish, GroupNormalization, "
        "MeanVarianceNormalization, ...) are taken where those are; of `ai.onnx.ml` "
        f"{', '.join(sorted(LEARNED))}, as what they stand for (`compiler/front/learned.py`).",
        "",
        "| operators | versions | attributes | idle |",
        "| --- | --- | --- | --- |",
    ]
    for (rule, versions), names in rows.items():
        attributes = [f"`{a}`" for a in sorted(rule.attributes)]
        attributes += [f"`{a}` = {value}" for a, value in sorted(rule.fixed.items())]
        lines.append(
            "| "
            + " | ".join(
                [
                    ", ".join(names),
                    ", ".join(map(str, versions)),
                    ", ".join(attributes),
                    ", ".join(f"`{a}`" for a in sorted(rule.idle)),
                ]
            )
            + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PATH.write_text(page())


if __name__ == "__main__":
    main()
