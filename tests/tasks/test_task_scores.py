"""What tasks say of degenerate outputs: a number, a fault, or why there is no figure."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.settings.metrics import METRICS
from pytest_inferbench.settings.schema import ModelSettings
from pytest_inferbench.tasks.registry import make_task

RNG = np.random.default_rng(0)
SHAPES = {"classification": (1, 7), "embedding": (1, 5), "segmentation": (1, 3, 4, 4)}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A task of each kind over the rows of a file, with the truth beside them."""
    folder = tmp_path_factory.mktemp("tasks")
    made = {}
    for kind, shape in SHAPES.items():
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape[1:]])
            for name in ("x", "y")
        ]
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "g", [ends[0]], [ends[1]]
        )
        onnx.save(helper.make_model(graph, ir_version=10), folder / f"{kind}.onnx")
        beside = {
            "classification": {"labels": np.arange(6) % 7},
            "segmentation": {"masks": RNG.integers(0, 3, (6, 4, 4))},
        }
        rows = RNG.normal(0, 1, (6, *shape[1:])).astype(np.float32)
        np.savez(folder / f"{kind}.npz", x=rows, **beside.get(kind, {}))
        model = ModelSettings(
            path=folder / f"{kind}.onnx", task=kind, data=folder / f"{kind}.npz", recall_at=2
        )
        made[kind] = make_task(kind, model, ArtifactCache(folder / "cache"), print)
    return made


def scored(task, reference, candidate):
    sides = [task.score([{"y": array} for array in side]) for side in (reference, candidate)]
    return task.compare(*sides)


@pytest.mark.parametrize("kind", SHAPES)
def test_the_reference_beside_itself_is_perfect(tasks, kind):
    outputs = [sample["x"] for sample in tasks[kind].inputs]
    found = scored(tasks[kind], outputs, outputs)
    assert found.faults == ()
    for name, value in found.figures.items():
        metric = METRICS.get(name)
        if metric and metric.name not in ("top1", "top5", "miou"):
            assert value == pytest.approx(1.0 if metric.better == "higher" else 0.0)
    assert found.figures.keys() | found.missing.keys() >= {
        name for name, metric in METRICS.items() if metric.task == kind
    }


FLOATS = st.one_of(st.just(0.0), st.just(1.0), st.floats(width=32), st.floats(-1, 1, width=32))


@settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.parametrize("kind", SHAPES)
@given(data=st.data())
def test_any_outputs_give_numbers_faults_or_reasons(tasks, kind, data):
    arrays = hnp.arrays(np.float32, (6, *SHAPES[kind]), elements=FLOATS)
    reference = RNG.normal(0, 1, (6, *SHAPES[kind])) if data.draw(st.booleans()) else None
    reference = data.draw(arrays) if reference is None else reference
    candidate = data.draw(arrays)
    found = scored(tasks[kind], list(reference), list(candidate))
    own = {name for name, metric in METRICS.items() if metric.task == kind}
    if found.faults:
        assert not found.figures
    else:
        assert found.figures.keys() | found.missing.keys() >= own
    assert all(map(math.isfinite, (*found.figures.values(), *found.nulls.values())))
    if not np.isfinite(candidate).all():
        assert any(fault.startswith("the candidate, sample") for fault in found.faults)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("classification", "IB-583"), ("embedding", "IB-584"), ("segmentation", "IB-587")],
)
def test_no_outputs_are_a_named_error(tasks, kind, code):
    with pytest.raises(InferbenchError) as error:
        tasks[kind].score([])
    assert error.value.code == code


def test_one_sample_has_no_ranking_and_says_so(tasks):
    task = tasks["embedding"]
    one = [np.array([[1.0, 2, 3, 4, 5]])]
    found = scored(task, one, one)
    assert found.figures["embedding_cosine"] == pytest.approx(1.0)
    assert found.missing.keys() == {"recall_at_k", "duplicate_agreement"}


def test_a_candidate_that_always_says_the_same_is_a_fault(tasks):
    reference = list(RNG.normal(0, 1, (6, 1, 5)))
    found = scored(tasks["embedding"], reference, [reference[0]] * 6)
    assert found.faults == ("the candidate's embedding is the same for every sample",)


def test_empty_masks_on_both_sides_give_no_figure_and_on_one_side_give_none_in_common(tasks):
    task = tasks["segmentation"]
    model = task.model
    made = make_task(
        "masks",
        ModelSettings(path=model.path, task="segmentation", threshold=0.0),
        task._cache,
        print,
    )
    empty = [np.full((1, 3, 4, 4), -1.0 - i) for i in range(2)]
    full = [np.full((1, 3, 4, 4), 1.0)] * 2
    assert "no mask has a pixel" in scored(made, empty, empty).missing["mask_iou"]
    assert scored(made, full, empty).figures["mask_iou"] == 0.0
