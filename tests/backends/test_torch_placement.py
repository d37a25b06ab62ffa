"""Where torch's operators run: real programs of both kinds, on the CPU and on the meta device."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_inferbench.backends.torch_placement import Operator, placed

torch = pytest.importorskip("torch", reason="torch is not installed ([torch])")

from pytest_inferbench.backends.torch_files import METADATA  # noqa: E402
from pytest_inferbench.backends.torch_native import Torch  # noqa: E402
from pytest_inferbench.backends.torch_placement import recorded  # noqa: E402

SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [2, 4]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [2, 3]}],
}
GIVEN = {"x": np.ones((2, 4), np.float32)}


class Stays(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).relu().view(2, 3) * 2.0 + torch.arange(3, device=x.device)


class Strays(Stays):
    """Computes a part on a device that nobody asked for."""

    def forward(self, x):
        return self.linear(x).relu(), x.to("meta").sin().view(-1).cos()


def sine_elsewhere(x):
    return x.to("meta").sin()


class Forks(Stays):
    """Strays on another thread."""

    def forward(self, x):
        return self.linear(x), torch.jit.wait(torch.jit.fork(sine_elsewhere, x))


def saved(path, module, kind):
    extra = {METADATA: json.dumps(SIGNATURE)}
    module, example = module.eval(), torch.ones(2, 4)
    if kind == "exported":
        with torch.no_grad():
            torch.export.save(torch.export.export(module, (example,)), path, extra_files=extra)
    else:
        made = torch.jit.script(module) if kind == "script" else torch.jit.trace(module, example)
        torch.jit.save(made, path, _extra_files=extra)
    return str(path)


@pytest.fixture
def opened(tmp_path):
    made = []

    def open_(module, kind, precision="fp32", **options):
        made.append(Torch())
        artifact = saved(tmp_path / "m.pt", module, kind)
        made[-1].open(artifact, {"threads": 1, **options}, precision)
        return made[-1]

    yield open_
    for each in made:
        each.close()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["exported", "script", "trace"])
def test_nothing_falls_back_where_everything_runs_as_asked(opened, kind, precision):
    backend = opened(Stays(), kind, precision)
    facts = backend.placement(GIVEN)
    assert facts["fallback"] == []
    assert facts["placement"] == {"cpu": 4}  # linear, relu, the product, the sum
    assert facts["precisions"] == {precision: 1}
    assert backend.infer(GIVEN)["y"].shape == (2, 3)


@pytest.mark.parametrize("kind", ["exported", "script", "trace"])
def test_what_runs_elsewhere_is_named_however_often_it_ran_before(tmp_path, kind):
    artifact, x = saved(tmp_path / "m.pt", Strays(), kind), torch.ones(2, 4)
    exported = kind == "exported"
    module = torch.export.load(artifact).module() if exported else torch.jit.load(artifact)
    for _ in range(4):  # a script's executor has optimised by now
        module(x)
    facts = recorded(torch, module, lambda run: run(x), "cpu")
    assert facts == {
        "placement": {"cpu": 2, "meta": 2},
        "fallback": [
            {"node": "#3", "op": "aten::sin", "provider": "meta"},
            {"node": "#4", "op": "aten::cos", "provider": "meta"},
        ],
    }


def test_a_script_is_seen_on_its_other_threads_too():
    script = torch.jit.script(Forks().eval())
    facts = recorded(torch, script, lambda run: run(torch.ones(2, 4)), "cpu")
    assert [each["op"] for each in facts["fallback"]] == ["aten::sin"]


def test_looking_leaves_the_executor_as_it_was(opened):
    before = torch._C._get_graph_executor_optimize()
    opened(Stays(), "script").placement(GIVEN)
    assert torch._C._get_graph_executor_optimize() == before


def test_without_inputs_nothing_is_run_and_nothing_claimed(opened):
    facts = opened(Stays(), "exported").placement()
    assert "fallback" not in facts
    assert facts["placement"] == {"cpu": 1}  # the layer, by its weights


def test_what_branches_is_not_seen_whole_and_proves_nothing(tmp_path):
    class Branches(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    artifact, x = saved(tmp_path / "m.pt", Branches(), "exported"), torch.ones(2, 4)
    given = []
    module = torch.export.load(artifact).module()
    assert recorded(torch, module, lambda run: given.append(run(x)), "cpu") == {}
    torch.testing.assert_close(given[0], x.sin())  # it ran all the same


@pytest.mark.slow
def test_a_compiled_module_does_not_tell(opened):
    assert "fallback" not in opened(Stays(), "exported", compile=True).placement(GIVEN)


def test_the_device_without_a_number_is_the_current_one():
    class Module:
        def __call__(self, x):
            return x.sin()

    facts = recorded(torch, Module(), lambda run: run(torch.ones(2, device="meta")), "meta")
    assert facts == {"placement": {"meta": 1}, "fallback": []}


@pytest.mark.parametrize(
    "silent",
    [
        [],
        [Operator("aten::item", ())],
        [Operator("aten::to", ("cuda:0",), moves=True)],
    ],
)
def test_where_nothing_computed_is_seen_nothing_is_proven(silent):
    assert placed(silent, "cuda:0") == {}


def test_copies_and_shapes_on_the_host_are_no_fallback_and_results_are():
    seen = [
        Operator("aten::conv2d", ("cuda:0",)),
        Operator("aten::_to_copy", ("cpu",), moves=True),
        Operator("aten::floor_divide", ("cpu",), is_shape_arithmetic=True),
        Operator("aten::topk", ("cpu", "cpu")),
        Operator("mine::split", ("cuda:0", "cuda:1")),
    ]
    assert placed(seen, "cuda:0") == {
        "placement": {"cpu": 2, "cuda:0": 2, "cuda:1": 1},
        "fallback": [
            {"node": "#3", "op": "aten::topk", "provider": "cpu"},
            {"node": "#4", "op": "mine::split", "provider": "cuda:1"},
        ],
    }
