"""Public functions and classes of the libraries say what they do, and what they raise."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("pal_units", "spu/engine", "compiler", "palspu", "rtl", "perf", "runtime")
FILES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "build" not in path.relative_to(ROOT).parts
]
#: Inherited documentation: what Amaranth calls, and what ``ElementwiseUnit`` says of its parts.
INHERITED = {"elaborate", "operate", "lam_bits", "result_fraction_bits"}
Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(tree, prefix=""):
    """Name, node, and docstrings of the classes around it, of what is public."""
    for node in tree.body:
        if isinstance(node, Node) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


def raised(node):
    """Names of the exceptions that a function, or the constructor of a class, raises itself."""
    bodies = (
        [node]
        if not isinstance(node, ast.ClassDef)
        else [
            x
            for x in node.body
            if isinstance(x, ast.FunctionDef) and x.name in ("__init__", "__post_init__")
        ]
    )
    waiting = [child for body in bodies for child in ast.iter_child_nodes(body)]
    while waiting:
        found = waiting.pop()
        if isinstance(found, ast.Raise) and isinstance(found.exc, ast.Call):
            function = found.exc.func
            yield function.attr if isinstance(function, ast.Attribute) else function.id
        if not isinstance(found, (*Node.__args__, ast.Lambda)):
            waiting += ast.iter_child_nodes(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(path):
    missing = [
        name
        for name, node in public(ast.parse(path.read_text()))
        if not ast.get_docstring(node) and node.name not in INHERITED
    ]
    assert missing == []


@pytest.mark.parametrize(
    "path",
    [
        path for path in FILES if "command" not in (path.stem, path.parent.name)
    ],  # whose docstrings are --help
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_docstrings_name_the_exceptions_that_a_function_raises(path):
    for name, node in public(ast.parse(path.read_text())):
        told = ast.get_docstring(node) or ""
        assert [error for error in raised(node) if error not in told] == [], name


def test_a_missing_docstring_and_an_untold_exception_are_found():
    tree = ast.parse(
        "class A:\n    'what'\n    def __init__(self): raise ValueError('x')\n"
        "    def b(self): pass\n    def _c(self): pass\n"
    )
    assert [name for name, node in public(tree) if not ast.get_docstring(node)] == ["A.b"]
    assert list(raised(tree.body[0])) == ["ValueError"]
