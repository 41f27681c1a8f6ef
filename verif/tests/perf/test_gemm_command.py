"""``spu perf gemm``: rows in, rows out, and tables that are refused."""

import csv
import io

import pytest
from typer.testing import CliRunner

from perf.gemm import predict
from perf.stacks import stack
from spu.command.main import app

RUN = CliRunner()


def _gemm(path, *more, chip="h100", dtype="bfloat16"):
    line = ["perf", "gemm", "--chip", chip, "--dtype", dtype, "--csv", str(path), *more]
    return RUN.invoke(app, line)


def _table(tmp_path, content):
    path = tmp_path / "products.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_come_back_with_times_and_energies(tmp_path):
    path = _table(tmp_path, '\ufeffname,n,k,m\n"a,b",512,1024,1\n\nc, 4096 ,4096,4096\n')
    result = _gemm(path)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert [list(row.values())[:4] for row in rows] == [
        ["a,b", "512", "1024", "1"],
        ["c", " 4096 ", "4096", "4096"],
    ]
    want = predict(stack("h100", "bfloat16"), [1, 4096], [512, 4096], [1024, 4096])
    assert [float(row["us"]) for row in rows] == pytest.approx(want.seconds * 1e6, abs=1e-3)
    assert [float(row["joules"]) for row in rows] == pytest.approx(want.joules, rel=1e-5)


def test_columns_of_the_same_names_are_replaced(tmp_path):
    result = _gemm(_table(tmp_path, "us,m,n,k\n9999,64,64,64\n"), "--framework", "trtllm_1.3.0rc20")
    header, row = result.stdout.splitlines()
    assert header == "m,n,k,us,joules"
    assert row.startswith("64,64,64,")
    assert "9999" not in row


def test_a_table_without_rows_is_one(tmp_path):
    assert _gemm(_table(tmp_path, "m,n,k\n")).output == "m,n,k,us,joules\n"


def test_help_has_the_commands_and_nothing_is_no_error():
    assert "gemm" in RUN.invoke(app, ["perf", "--help"]).output
    assert RUN.invoke(app, ["perf"]).exit_code == 0
    assert "perf" in RUN.invoke(app, ["--help"]).output


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "has no column m; it needs m, n and k in its first line"),
        ("m,n\n1,2\n", "has no column k"),
        ("m,n,k,n\n1,2,3,4\n", "has the column n twice"),
        ("m,n,k\n1,2,3\n1,2\n", "line 3: has 2 fields, not 3"),
        ("m,n,k\n1,2,3,4\n", "line 2: has 4 fields, not 3"),
        ("m,n,k\n1,2,0\n", "line 2: k must be a whole number from 1 to 2147483647, not '0'"),
        ("m,n,k\n\n1,-2,3\n", "line 3: n must be a whole number from 1 to 2147483647, not '-2'"),
        ("m,n,k\n1.5,2,3\n", "line 2: m must be"),
        ("m,n,k\n1e3,2,3\n", "line 2: m must be"),
        ("m,n,k\nnan,2,3\n", "line 2: m must be"),
        ("m,n,k\n2147483648,2,3\n", "line 2: m must be"),
        (f"m,n,k\n{'9' * 9999},2,3\n", "line 2: m must be"),
        ("m,n,k\n²,2,3\n", "line 2: m must be"),
        ("m,n,k\n,2,3\n", "line 2: m must be"),
        ('m,n,k\n"1,2,3\n', "line 2: unexpected end of data"),
        (b"m,n,k\n\xff,2,3\n", "not a text in UTF-8"),
        (b"m,n,k\n1,2,3\n\x00", "line 3: "),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_line(content, rule, tmp_path):
    result = _gemm(_table(tmp_path, content))
    assert result.exit_code == 2, result.output
    assert rule in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"chip": "h10"}, "no machine 'h10'; did you mean h100?"),
        ({"chip": "spu_basic"}, "no products were measured on spu_basic"),
        ({"dtype": "fp3"}, "no products of 'fp3' were measured on h100"),
    ],
)
def test_what_was_not_measured_is_refused_before_the_table(options, rule, tmp_path):
    result = _gemm(tmp_path / "none.csv", **options)
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert rule in result.output


def test_a_missing_table_is_named(tmp_path):
    result = _gemm(tmp_path / "none.csv")
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "none.csv: No such file" in result.output


def test_products_beyond_those_fitted_are_counted(tmp_path):
    within = _gemm(_table(tmp_path, "m,n,k\n1,768,768\n"))
    assert within.stderr == ""
    result = _gemm(_table(tmp_path, "m,n,k\n1,768,768\n1,16,768\n99999,768,768\n"))
    assert result.stderr.startswith(
        "spu: note: 2 of 3 products have sides beyond those fitted: m 1 to 32768, n 512 to "
    )
    assert len(result.stdout.splitlines()) == 4
