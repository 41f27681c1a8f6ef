"""Machines as data: what the files say, and what is refused of one."""

import pytest

from perf.machines import KINDS, MachineError, machine, names, read
from spu.arch.params import CONFIGS

GOOD = """
label = "A machine"
kind = "gpu"
[sources]
sheet = { title = "Its datasheet", year = 2024 }
[processors]
count = { value = 4, source = "sheet" }
[peak]
bfloat16 = { value = 8e12, source = "sheet" }
"""


def _read(tmp_path, text):
    path = tmp_path / "some.toml"
    path.write_text(text)
    return read(path)


@pytest.mark.parametrize("name", names())
def test_machines_of_the_project_are_read_with_sources(name):
    found = machine(name)
    assert found.kind in KINDS
    assert (found.architecture is None) == (found.kind != "spu")
    for table in found.numbers.values():
        for quantity in table.values():
            assert quantity.source
            assert 2015 <= quantity.year <= 2026


def test_the_machines_that_are_promised_are_there():
    assert set(names()) >= {
        *("h100", "h200", "b200", "gb200", "a100", "tpu_v4i", "tpu_v5e", "cpu"),
        *("spu_tiny", "spu_basic"),
    }
    assert machine("spu_basic").architecture == CONFIGS["basic"]
    assert machine("H100") is machine("H100")


def test_a_file_is_read_in_si_units(tmp_path):
    found = _read(tmp_path, GOOD)
    assert (found.name, found.label, found.processors) == ("some", "A machine", 4)
    assert found.peak("bfloat16") == 8e12
    with pytest.raises(MachineError, match=r"some: has no peak\.fp8; it has bfloat16$"):
        found.peak("fp8")
    with pytest.raises(MachineError, match=r"some: has no power\.watts; it has none of that table"):
        _ = found.watts


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("kind =", "colour = 1\nkind =", "unknown field 'colour'; known: label, kind"),
        ('"gpu"', '"car"', "kind must be one of cpu, gpu, spu, tpu, not 'car'"),
        ('"A machine"', "3", "label must be a text"),
        ("bfloat16 =", "fp3 =", "unknown field of peak 'fp3'"),
        (', source = "sheet" }\n[peak]', " }\n[peak]", "processors.count has no source"),
        ('8e12, source = "sheet"', '8e12, source = "x"', "the source 'x', which .sources. lacks"),
        ("8e12", "-8e12", "peak.bfloat16 must have a positive value, not -8"),
        ("8e12", "nan", "peak.bfloat16 must have a positive value, not nan"),
        ("8e12", "true", "peak.bfloat16 must have a positive value, not True"),
        ("value = 4", "value = 4.5", "processors.count must be a whole number, not 4.5"),
        ("8e12,", "8e12, unit = 1,", "unknown field of peak.bfloat16 'unit'"),
        (", year = 2024", "", "sources.sheet has no year"),
        ('title = "Its datasheet", ', "", "sources.sheet has no title"),
        ("{ value = 8e12", "8e12 #", "peak.bfloat16 must have a value and a source"),
        ("[peak]", "[peak", "line"),
        ('"gpu"', '"spu"', "a machine of kind spu, and no other, has an architecture"),
        ('"gpu"', '"gpu"\narchitecture = "tiny"', "a machine of kind spu, and no other"),
        ('"gpu"', '"spu"\narchitecture = "huge"', "architecture must be one of .*, not 'huge'"),
        ("[sources]\nsheet = {", "sources = 1\nx = {", "unknown field 'x'"),
    ],
)
def test_what_describes_no_machine_is_one_line_with_the_file(old, new, rule, tmp_path):
    assert old in GOOD
    with pytest.raises(MachineError, match=rf"some\.toml: .*{rule}") as error:
        _read(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(error.value)


def test_an_unknown_machine_is_named_with_those_near():
    with pytest.raises(MachineError, match=r"no machine 'h10'; did you mean h100\?"):
        machine("h10")
    with pytest.raises(MachineError, match="no machine 'zzz'; there are a100, b200"):
        machine("zzz")
    with pytest.raises(MachineError, match=r"no machine '\.\./machines/h100'"):
        machine("../machines/h100")
