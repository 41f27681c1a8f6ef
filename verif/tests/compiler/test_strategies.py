"""Strategies, and models that leave the number of their vectors open."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from compiler.build import compile_file, compile_model
from compiler.errors import CompileError
from compiler.front.any_count import mixing_node
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from pal_units.formats import PAL4A, PAL4T, PAL6T, PAL8T
from spu.arch.errors import InputError
from spu.arch.package.program import node_name
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.layers import in_steps
from spu.engine.run import run
from spu.model import exact
from spu.model.accuracy import decibels
from verif.digits.data import MODEL, split
from verif.stimulus.chains import Layer, forward, pipeline, program_of, random_network

TINY = CONFIGS["tiny"]


@pytest.mark.parametrize("fmt", [PAL8T, PAL6T, PAL4T, PAL4A], ids=lambda f: f.name)
@pytest.mark.parametrize("arch", ["tiny", "basic"])
def test_all_strategies_give_the_same_codes(arch, fmt):
    """The digits, and their runs on inputs as large as they may be."""
    x = np.concatenate([split()[2][:3].reshape(3, 8, 8), np.ones((1, 8, 8)), np.zeros((1, 8, 8))])
    program = lower(read(MODEL), "digits", len(x))
    made = {
        strategy: compile_model(program, CONFIGS[arch], strategy, fmt)
        for strategy in ("pipeline", "steps", "auto")
    }
    engines = {strategy: GoldenEngine(CONFIGS[arch]) for strategy in made}
    got = {
        strategy: run(package, engines[strategy], {"image": x})["logits"]
        for strategy, package in made.items()
    }
    assert np.array_equal(got["pipeline"], got["steps"])
    assert np.array_equal(got["auto"], got["steps"])
    assert got["steps"].any()
    cycles = {strategy: engine.cycles for strategy, engine in engines.items()}
    assert cycles["auto"] == min(cycles.values())
    said = made["auto"].report["strategy"]
    assert said == {
        "chosen": "pipeline",
        "batch": len(x),
        "cycles": {"pipeline": cycles["pipeline"], "steps": cycles["steps"]},
        "why": f"cycles for 5 vectors: {cycles['pipeline']} as a pipeline or {cycles['steps']} "
        "in steps",
    }


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("sizes", [(8, 40, 9), (100, 20)])
def test_codes_of_random_chains_do_not_depend_on_the_strategy(sizes, calibrated):
    layers = random_network(sizes, seed=3)
    x = np.random.default_rng(0).normal(size=(1, sizes[0])) * (30 if calibrated else 0.2)
    made = [
        compile_model(
            program_of("chain", layers),
            CONFIGS["basic"],
            strategy,
            calibrate={"input": x} if calibrated else None,
        )
        for strategy in ("pipeline", "steps")
    ]
    one, two = (
        run(package, GoldenEngine(CONFIGS["basic"]), {"input": x})["output"] for package in made
    )
    assert np.array_equal(one, two)
    assert np.allclose(one, forward(layers, x), rtol=0.1, atol=0.05 * np.abs(one).max())


def _deep_chain():
    """Seven layers whose worst-case bounds leave their results ever further below the top."""
    rng = np.random.default_rng(1)
    return tuple(
        Layer(f"layer_{i}", rng.normal(0, 1 / 8, (64, 64)), np.zeros(64), True) for i in range(7)
    )


DEEP = replace(CONFIGS["basic"], name="deep", contexts=64, weight_rows=256)


@pytest.mark.parametrize("fmt", ["PAL8T", "PAL4A"])
def test_a_pipeline_tells_what_its_layers_lose_as_steps_do(fmt, tmp_path):
    layers, x = _deep_chain(), np.random.default_rng(0).uniform(0, 1, (1, 64))
    told = {}
    for strategy in ("pipeline", "steps"):
        made = compile_model(program_of("c", layers), DEEP, strategy, DEEP.data_format(fmt))
        save(made, tmp_path)
        package, engine = load(tmp_path), GoldenEngine(DEEP)
        got = run(package, engine, {"input": x})["output"]
        assert decibels(forward(layers, x), got) < 5
        told[strategy] = {node_name(label): count for label, count in engine.nodes.items()}
    assert told["pipeline"] == told["steps"]
    assert sum(told["steps"].values()) > 20


def test_strict_runs_of_a_pipeline_fail_for_what_its_layers_lose(tmp_path):
    made = compile_model(program_of("c", _deep_chain()), DEEP, "pipeline")
    save(made, tmp_path / "built")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(0, 1, (1, 64)))
    given = ["--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"), "--strict"]
    ran = CliRunner().invoke(app, ["run", str(tmp_path / "built"), *given])
    advice = "spu compile --calibrate with inputs like these gives them room"
    told = " ".join(ran.stderr.split())
    assert (ran.exit_code, told) == (1, f"spu: saturated elements: layer_4 (31); {advice}")
    assert (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("fmt", ["PAL8T", "PAL4T", "PAL4A"])
def test_results_on_the_way_of_a_pipeline_are_those_of_the_array(fmt):
    """Which hands out those of the last layer; here of chains of one layer, two, and three."""
    layers = random_network((40, 50, 20, 9), seed=4)
    x = np.random.default_rng(2).uniform(-1, 1, (5, 40))
    for count in (1, 2, 3):
        chain = program_of("c", layers[:count])
        package = pipeline(chain, DEEP, DEEP.data_format(fmt)).package
        steps = in_steps(package, len(x))
        (made,) = exact.outputs(steps, exact.run(steps, {"input": x})).values()
        assert np.array_equal(made[0], run(package, GoldenEngine(DEEP), {"input": x})["output"])
        assert made.any()


def test_steps_are_chosen_where_a_chain_does_not_fit_a_pipeline():
    made = compile_model(program_of("deep", random_network((200, 8))), CONFIGS["basic"])
    assert made.strategy["chosen"] == "steps"
    assert "longest input need an II of at least 25" in made.strategy["why"]
    with pytest.raises(CompileError, match="longest input need an II"):
        compile_model(program_of("deep", random_network((200, 8))), CONFIGS["basic"], "pipeline")


def test_what_is_asked_of_a_strategy_that_cannot():
    program = program_of("chain", random_network((8, 4)))
    x = {"input": np.ones((1, 8))}
    for options, rule in (
        (("quick",), "strategy must be one of auto, pipeline, steps"),
        (("pipeline", PAL8T, 0, None, x, 20.0), "a budget chooses a format"),
        (("auto", PAL8T, 0, 1.0, x), "say the same"),
        (("auto", PAL8T, 0, None, None, 9.0), "a budget takes inputs"),
    ):
        with pytest.raises(CompileError, match=rule):
            compile_model(program, TINY, *options)


def test_the_strategy_depends_on_the_batch_and_any_batch_is_many():
    """One vector passes a shared array sooner in steps; of many the pipeline takes more.

    Both strategies are compared for as many vectors.
    """
    one, many = (compile_file(MODEL, TINY, batch=batch) for batch in (1, None))
    assert one.strategy["chosen"] == "steps"
    assert one.strategy["cycles"]["steps"] < one.strategy["cycles"]["pipeline"]
    assert many.report["strategy"]["cycles"] == {
        "pipeline": many.cycles(64),
        "steps": sum(compile_file(MODEL, TINY, "steps", batch=64).cycles().values()),
    }
    assert many.report["strategy"]["batch"] == 64


W = np.random.default_rng(5).normal(size=(8, 4))


def _open_model(path, nodes, shape=(8,), floats=None, count="n", opset=17, **constants):
    """A model of ``count`` vectors ``x``, weights ``w`` and constants, whose nodes make ``y``."""
    rank = len(shape) + 1 if len(nodes) == 1 else 2
    tensors = {"w": np.float32(W), **(floats or {})}
    tensors |= {k: np.asarray(v, np.int64) for k, v in constants.items()}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (count, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _node(op, given, name, **attributes):
    return helper.make_node(op, given.split(), [name], name, **attributes)


MM = _node("MatMul", "h w", "y")


@pytest.mark.parametrize(
    ("nodes", "constants", "shape"),
    [
        (
            [helper.make_node("Slice", ["x", "b", "e", "a", "s"], ["h"], "flip")],
            {"b": [-1], "e": [-(1 << 31)], "a": [0], "s": [-1]},
            (8,),
        ),
        (
            [helper.make_node("Slice", ["x", "b", "e", "a"], ["h"], "some")],
            {"b": [0], "e": [4092], "a": [0]},
            (8,),
        ),
        (
            [helper.make_node("Slice", ["x", "b", "e", "a"], ["h"], "last")],
            {"b": [-4092], "e": [1 << 40], "a": [0]},
            (8,),
        ),
        (
            [helper.make_node("Slice", ["x", "b", "e", "a"], ["h"], "first")],
            {"b": [0], "e": [1], "a": [0]},
            (8,),
        ),
        (
            [
                helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0]),
                helper.make_node("Reshape", ["t", "r"], ["h"], "back"),
            ],
            {"r": [-1, 8]},
            (8,),
        ),
        (
            [
                helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2]),
                helper.make_node("Reshape", ["t", "r"], ["h"], "back"),
            ],
            {"r": [-1, 8]},
            (4, 2),
        ),
        ([helper.make_node("Gather", ["x", "i"], ["h"], "first")], {"i": [0]}, (8,)),
        ([helper.make_node("ReduceSum", ["x"], ["h"], "total", axes=[0])], {}, (8,)),
        ([helper.make_node("Reshape", ["x", "r"], ["h"], "one")], {"r": [1, 8]}, (8,)),
    ],
)
def test_vectors_that_meet_are_no_chain_of_any_number(nodes, constants, shape, tmp_path):
    """With one vector all of these do nothing, or next to nothing."""
    opset = 11 if nodes[0].op_type == "ReduceSum" else 17
    path = _open_model(tmp_path / "m.onnx", [*nodes, MM], shape, opset=opset, **constants)
    with pytest.raises(CompileError):
        compile_file(path, CONFIGS["basic"], "pipeline")
    package = compile_file(path, CONFIGS["basic"])
    assert package.strategy["chosen"] == "steps"


COUNT = [_node("Shape", "x", "s"), _node("Gather", "s zero", "n")]
SIZES = [
    # A bias that depends on whether there is an even number of vectors.
    [
        *COUNT,
        _node("Mod", "n two", "p"),
        _node("Cast", "p", "f", to=TensorProto.FLOAT),
        _node("MatMul", "x w", "h"),
        _node("Add", "h f", "y"),
    ],
    # All vectors, or all but one.
    [
        *COUNT,
        _node("Div", "n two", "half"),
        _node("Mul", "half two", "e"),
        _node("Unsqueeze", "e zero1", "e1"),
        _node("Slice", "x zero1 e1 zero1", "h"),
        MM,
    ],
    # A number that is narrowed.
    [
        _node("Shape", "x", "s"),
        _node("Cast", "s", "c", to=TensorProto.INT8),
        _node("Cast", "c", "d", to=TensorProto.INT64),
        _node("Reshape", "x d", "h"),
        MM,
    ],
    # Ones, as many as there are vectors, added up.
    [
        _node("Shape", "x", "s"),
        _node("Expand", "one s", "ones"),
        _node("ReduceSum", "ones", "sum", keepdims=0),
        _node("MatMul", "x w", "h"),
        _node("Add", "h sum", "y"),
    ],
    # A table that has something else for two vectors.
    [
        *COUNT,
        _node("Gather", "table n", "b"),
        _node("MatMul", "x w", "h"),
        _node("Add", "h b", "y"),
    ],
    # The same vectors unless there are some thousand of them.
    [
        _node("Slice", "x zero1 mid zero1", "a"),
        _node("Slice", "x mid big zero1", "b"),
        _node("Slice", "b m2 m1 zero1", "c"),
        _node("Slice", "x top big zero1", "d"),
        _node("Concat", "a c d", "h", axis=0),
        MM,
    ],
]


@pytest.mark.parametrize("nodes", SIZES)
def test_models_that_compute_with_their_sizes_are_no_chain_of_any_number(nodes, tmp_path):
    """Whatever numbers of vectors are tried, another may be the one that matters."""
    table = np.zeros(4094, np.float32)
    table[2] = 5
    path = _open_model(
        tmp_path / "m.onnx",
        nodes,
        floats={"one": np.ones((1, 1), np.float32), "table": table},
        zero=0,
        two=2,
        zero1=[0],
        mid=[2000],
        top=[3000],
        big=[1 << 40],
        m2=[-2093],
        m1=[-1093],
    )
    with pytest.raises(CompileError, match=r"may do something else|not the result|change places"):
        compile_file(path, TINY, "pipeline")
    package = compile_file(path, TINY)
    assert package.strategy["chosen"] == "steps"
    assert package.strategy["batch"] == 1


@pytest.mark.parametrize(
    "nodes",
    [
        [*COUNT, _node("Unsqueeze", "n zero1", "u"), _node("Concat", "u rest", "r", axis=0)],
        [
            _node("Shape", "x", "s"),
            _node("Slice", "s zero1 one1", "u"),
            _node("Concat", "u rest", "r", axis=0),
        ],
    ],
)
def test_sizes_that_shape_data_make_a_chain_of_any_number(nodes, tmp_path):
    """As exporters write ``x.view(len(x), -1)``."""
    path = _open_model(
        tmp_path / "m.onnx",
        [*nodes, _node("Reshape", "x r", "h"), MM],
        (2, 4),
        zero=0,
        zero1=[0],
        one1=[1],
        rest=[-1],
    )
    package = compile_file(path, TINY, "pipeline")
    x = np.random.default_rng(1).normal(size=(6, 2, 4)) / 8
    y = run(package, GoldenEngine(TINY), {"x": x})["y"]
    assert np.abs(y - x.reshape(6, 8) @ W).max() < 0.1
    assert (y == run(package, GoldenEngine(TINY), {"x": x.reshape(6, 8)})["y"]).all()
    for shape in ((6, 4, 2), (6, 8, 1), (3, 16)):
        with pytest.raises(InputError, match=r"shape \(n, 2, 4\) or \(n, 8\), not"):
            run(package, GoldenEngine(TINY), {"x": x.reshape(shape)})


@pytest.mark.parametrize(
    ("nodes", "mixing"),
    [
        # Data and a size, both integers.
        ([*COUNT, _node("Cast", "x", "i", to=TensorProto.INT64), _node("Add", "i n", "y")], "Add"),
        ([*COUNT, _node("Mod", "n two", "p"), _node("Reshape", "x p", "y")], "Mod"),
        ([*COUNT, _node("Gather", "s n", "p"), _node("Reshape", "x p", "y")], "Gather"),
        ([_node("Shape", "x", "s"), _node("Size", "s", "k"), _node("Reshape", "x k", "y")], "Size"),
        ([_node("Shape", "x", "s"), _node("Identity", "s", "y")], "Identity"),
        ([_node("Relu", "x", "y", domain="ai.other")], "Relu"),
        ([_node("Sigmoid", "x", "y")], "Sigmoid"),
        ([_node("Shape", "x", "s"), _node("Reshape", "x s", "y")], None),
        # Attributes in the order of their names; the other one may be any number.
        (
            [
                _node("Shape", "x", "s"),
                _node("Cast", "s", "c", saturate=7, to=TensorProto.UINT8),
                _node("Reshape", "x c", "y"),
            ],
            "Cast",
        ),
        (
            [
                _node("Shape", "x", "s"),
                _node("Cast", "s", "c", saturate=1, to=TensorProto.INT64),
                _node("Reshape", "x c", "y"),
            ],
            None,
        ),
        # Sizes of constants are constants.
        (
            [
                _node("Shape", "w", "s"),
                _node("Gather", "s zero", "k"),
                _node("Mul", "k two", "m"),
                _node("MatMul", "x w", "y"),
            ],
            None,
        ),
        # An output that nobody takes has no name, nor has an input that is left out.
        (
            [
                helper.make_node("Dropout", ["x"], ["d", ""], "drop"),
                helper.make_node("Clip", ["w", "", ""], ["v"], "clip"),
                helper.make_node("Abs", ["v"], ["u"], "abs"),
                _node("MatMul", "d u", "y"),
            ],
            None,
        ),
    ],
)
def test_the_node_is_named_that_may_do_something_else(nodes, mixing, tmp_path):
    path = _open_model(tmp_path / "m.onnx", nodes, zero=0, two=2)
    found = mixing_node(onnx.load(path))
    assert (found and found.op_type) == mixing


def test_a_function_with_the_name_of_an_operator_is_not_that_operator(tmp_path):
    path = _open_model(tmp_path / "m.onnx", [_node("Identity", "x", "h"), MM])
    model = onnx.load(path)
    assert mixing_node(model) is None
    body = [helper.make_node("Shape", ["a"], ["s"]), helper.make_node("Reshape", ["a", "s"], ["b"])]
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("", "Identity", ["a"], ["b"], body, opset))
    assert mixing_node(model).op_type == "Identity"


@pytest.mark.parametrize("shape", [(1, 8), (1, 1, 8)])
@pytest.mark.parametrize("calibrated", [False, True])
def test_strategies_are_compared_where_layouts_vanish_for_one_vector(shape, calibrated, tmp_path):
    path = _open_model(tmp_path / "m.onnx", [_node("MatMul", "x w", "y")], shape)
    given = {"x": np.full((1, *shape), 0.5)} if calibrated else None
    package = compile_file(path, TINY, calibrate=given)
    assert package.report["strategy"]["batch"] == 64


def test_wide_layers_are_compared_for_as_many_vectors_as_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("compiler.build.MOST_ELEMENTS", 8 * 25)
    path = _open_model(tmp_path / "m.onnx", [_node("MatMul", "x w", "y")])
    package = compile_file(path, CONFIGS["basic"])
    assert package.report["strategy"]["batch"] == 25
    assert package.report["io"]["vectors"] == [1, 25]


def test_no_run_has_more_vectors_than_were_looked_at(tmp_path):
    path = _open_model(tmp_path / "m.onnx", [_node("MatMul", "x w", "y")])
    package = compile_file(path, CONFIGS["basic"], "pipeline")
    assert package.report["io"]["vectors"] == [1, 4093]
    engine = GoldenEngine(CONFIGS["basic"])
    assert run(package, engine, {"x": np.ones((5, 8))})["y"].shape == (5, 4)
    with pytest.raises(InputError, match="at most 4093 vectors in a run"):
        run(package, engine, {"x": np.ones((4094, 8))})


def test_a_chain_of_so_many_vectors_takes_no_others(tmp_path):
    layer = [_node("MatMul", "x w", "y")]
    path = _open_model(tmp_path / "m.onnx", layer, count=2)
    package = compile_file(path, CONFIGS["basic"], "pipeline")
    run(package, GoldenEngine(CONFIGS["basic"]), {"x": np.ones((2, 8))})
    with pytest.raises(InputError, match="must have 2 vectors, not 3"):
        run(package, GoldenEngine(CONFIGS["basic"]), {"x": np.ones((3, 8))})
    for batch, dims in ((2, None), (None, {"n": 2})):
        path = _open_model(tmp_path / "m.onnx", layer)
        package = compile_file(path, CONFIGS["basic"], "pipeline", batch=batch, dims=dims)
        assert package.report["strategy"]["batch"] == 2
