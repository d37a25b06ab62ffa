"""torch itself: the built-in detector beside ONNX Runtime, tiny programs, and files that attack."""

from __future__ import annotations

import json
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pytest_inferbench.backends.torch_files import METADATA, kind_of
from pytest_inferbench.errors import InferbenchError

torch = pytest.importorskip("torch", reason="torch is not installed ([torch])")

from pytest_inferbench.backends.torch_native import Torch  # noqa: E402

DETECTOR = Path(__file__).parents[2] / "fixtures" / "detector"
SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 3]}],
}


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).relu()


class Many(torch.nn.Module):
    """Writes into what it is given, and gives it back; whole numbers pass as they are."""

    def forward(self, a, b):
        a.add_(1)
        return {"sum": a + b, "a": a}


def exported(path, module, inputs, signature=None, **how):
    extra = {METADATA: json.dumps(signature)} if signature else {}
    with torch.no_grad():
        torch.export.save(torch.export.export(module, inputs, **how), path, extra_files=extra)
    return str(path)


@pytest.fixture
def tiny(tmp_path):
    batch = ({0: torch.export.Dim("batch")},)
    return exported(
        tmp_path / "t.pt2", Tiny().eval(), (torch.zeros(2, 4),), SIGNATURE, dynamic_shapes=batch
    )


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "t.pt"
    torch.jit.script(Tiny().eval()).save(path)
    return str(path)


@pytest.fixture
def opened():
    made = []

    def open_(artifact, precision="fp32", **options):
        made.append(Torch())
        made[-1].open(str(artifact), {"threads": 1, **options}, precision)
        return made[-1]

    yield open_
    for each in made:
        each.close()


def x(count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def expected(array):
    with torch.inference_mode():
        return Tiny().eval()(torch.tensor(array)).numpy()


@pytest.fixture(scope="module")
def reference():
    import onnxruntime

    session = onnxruntime.InferenceSession(
        DETECTOR / "detector.onnx", providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(3).random((3, 3, 192, 192), np.float32)
    return images, session.run(None, {"images": images})[0]


@pytest.mark.parametrize(
    ("precision", "pixels", "probability", "layout"),
    [
        ("fp32", 2e-3, 1e-4, False),
        ("fp32", 2e-3, 1e-4, True),
        ("fp16", 2, 0.02, False),
        ("bf16", 12, 0.1, False),
    ],
)
def test_the_detector_gives_what_onnx_runtime_gives(
    opened, reference, precision, pixels, probability, layout
):
    images, wanted = reference
    backend = opened(DETECTOR / "detector.pt2", precision, channels_last=layout)
    assert [str(each) for each in backend.inputs] == ["images: float32 batchx3x192x192"]
    assert [str(each) for each in backend.outputs] == ["output0: float32 batchx10x756"]
    output = backend.infer({"images": images})["output0"]
    assert output.dtype == np.float32
    error = np.abs(output - wanted)
    assert error[:, :4].max() < pixels
    assert error[:, 4:].max() < probability
    facts = backend.describe()
    assert facts["precisions"] == {precision: 63}
    assert facts["placement"] == {"cpu": 63}
    assert facts["threads"] == 1
    if precision != "fp32":  # a conversion that did nothing would pass all the above
        assert error.max() > 0
    alone = np.concatenate([backend.infer({"images": image[None]})["output0"] for image in images])
    np.testing.assert_allclose(alone, output, atol=pixels)


def test_a_program_names_its_own_inputs_and_outputs(opened, tiny):
    other = {"inputs": [{"name": "q", "dtype": "int8", "shape": [1]}], "outputs": []}
    backend = opened(tiny, signature=other)  # what is in the file counts
    assert backend.inputs[0].as_fields() == SIGNATURE["inputs"][0]
    np.testing.assert_allclose(backend.infer({"x": x()})["y"], expected(x()), rtol=1e-6)


def test_torchscript_is_named_by_the_signature(opened, script):
    backend = opened(script, signature=SIGNATURE)
    assert backend.describe()["kind"] == "TorchScript"
    np.testing.assert_allclose(backend.infer({"x": x()})["y"], expected(x()), rtol=1e-6)


def test_torchscript_can_name_itself(opened, tmp_path):
    path = tmp_path / "named.pt"
    torch.jit.save(
        torch.jit.script(Tiny().eval()), path, _extra_files={METADATA: json.dumps(SIGNATURE)}
    )
    assert opened(path).outputs[0].name == "y"


@pytest.mark.parametrize(
    "signature",
    [
        {},
        {**SIGNATURE, "inputs": SIGNATURE["inputs"] * 2},
    ],
)
def test_what_cannot_be_named_is_refused(opened, script, signature):
    with pytest.raises(InferbenchError, match="cannot be named") as caught:
        opened(script, signature=signature)
    assert caught.value.code == "IB-351"
    assert METADATA in caught.value.hint


def test_a_program_without_names_uses_its_arguments(opened, tmp_path):
    inputs = (torch.zeros(2), torch.zeros(2, dtype=torch.int64))
    backend = opened(exported(tmp_path / "m.pt2", Many(), inputs))
    assert [(s.name, s.dtype, s.shape) for s in backend.inputs] == [
        ("a", "float32", (2,)),
        ("b", "int64", (2,)),
    ]
    assert len(backend.outputs) == 2


def test_inputs_are_ordered_by_the_names_of_arguments(opened, tmp_path):
    inputs = (torch.zeros(2), torch.zeros(2, dtype=torch.int64))
    path = exported(tmp_path / "m.pt2", Many(), inputs)
    signature = {
        "inputs": [{"name": "b", "dtype": "int64"}, {"name": "a", "dtype": "float32"}],
        "outputs": [{"name": "s", "dtype": "float32"}, {"name": "same", "dtype": "float32"}],
    }
    backend = opened(path, "fp16", signature=signature)
    given = {"a": np.array([1, 2], np.float32), "b": np.array([10, 20])}
    outputs = backend.infer(given)
    np.testing.assert_array_equal(outputs["s"], [12, 23])
    np.testing.assert_array_equal(outputs["same"], [2, 3])
    np.testing.assert_array_equal(given["a"], [1, 2])  # though the module wrote into it
    assert outputs["s"].dtype == np.float32


def test_empty_batches_nan_and_layouts(opened, tiny):
    backend = opened(tiny)
    assert backend.infer({"x": x(0)})["y"].shape == (0, 3)
    assert np.isnan(backend.infer({"x": np.full((1, 4), np.nan, np.float32)})["y"]).all()
    strided = np.asfortranarray(x(6))[::2]
    strided.flags.writeable = False
    np.testing.assert_allclose(backend.infer({"x": strided})["y"], expected(strided), rtol=1e-6)


def test_outputs_stay_and_threads_do_not_meet(opened, tiny):
    backend = opened(tiny)
    kept = backend.infer({"x": x(seed=1)})["y"]
    before = kept.copy()
    given = [x(seed=seed) for seed in range(200)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda each: backend.infer({"x": each})["y"], given))
    for array, output in zip(given, outputs, strict=True):
        np.testing.assert_allclose(output, expected(array), rtol=1e-5)
    np.testing.assert_array_equal(kept, before)


def test_a_prepared_call_runs_and_no_gradient_is_kept(opened, tiny):
    backend = opened(tiny)
    result = backend.prepare({"x": x()})()
    backend.synchronize()
    assert not result.requires_grad
    np.testing.assert_allclose(result.numpy(), expected(x()), rtol=1e-6)


def test_fp32_means_fp32_and_the_process_gets_its_settings_back(tiny):
    torch.set_float32_matmul_precision("medium")
    threads = torch.get_num_threads()
    backend = Torch()
    backend.open(tiny, {"threads": 1}, "fp32")
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_num_threads() == 1
    backend.close()
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_num_threads() == threads
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("precision", "options", "code", "says"),
    [
        ("fp32", {"thread": 1}, "IB-323", "did you mean 'threads'"),
        ("fp32", {"threads": 0}, "IB-323", "cannot be 0"),
        ("fp32", {"compile": "fast"}, "IB-323", "cannot be 'fast'"),
        ("fp32", {"device": "gpu"}, "IB-323", "cannot be 'gpu'"),
        ("fp32", {"device": "meta"}, "IB-323", "cannot be 'meta'"),
        ("fp32", {"device": "cuda:63"}, "IB-324", "has no cuda:63"),
        ("tf32", {}, "IB-352", "only NVIDIA GPUs"),
        ("int8", {}, "IB-352", "torch has fp32"),
    ],
)
def test_what_cannot_be_honoured_is_refused(opened, tiny, precision, options, code, says):
    with pytest.raises(InferbenchError, match=says) as caught:
        opened(tiny, precision, **options)
    assert caught.value.code == code
    assert caught.value.hint


def test_sizes_fixed_at_export_are_said_before_running(opened, tmp_path):
    fixed = exported(tmp_path / "f.pt2", Tiny().eval(), (torch.zeros(2, 4),))
    backend = opened(fixed, signature=SIGNATURE)
    with pytest.raises(InferbenchError, match="x: float32 2x4") as caught:
        backend.infer({"x": x(3)})
    assert caught.value.code == "IB-322"


def test_what_torch_refuses_while_running_is_named(opened, script):
    anything = {**SIGNATURE, "inputs": [{"name": "x", "dtype": "float32", "shape": None}]}
    backend = opened(script, signature=anything)
    with pytest.raises(InferbenchError, match=r"x float32 \(2, 5\)") as caught:
        backend.infer({"x": np.zeros((2, 5), np.float32)})
    assert caught.value.code == "IB-355"
    np.testing.assert_allclose(backend.infer({"x": x()})["y"], expected(x()), rtol=1e-6)


def test_asserted_types_do_not_stand_in_the_way_of_fp16(opened, tmp_path):
    class Asserts(torch.nn.Module):
        def forward(self, x):
            return (x.to(torch.float64) * 2).to(torch.float32)

    path = exported(tmp_path / "a.pt2", Asserts(), (torch.zeros(2, 4),))
    backend = opened(path, "fp16")
    (output,) = backend.infer({backend.inputs[0].name: x()}).values()
    np.testing.assert_allclose(output, x() * 2, rtol=2e-3)


class Payload:
    """Would write a file, were it unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_the_payload_is_a_real_one(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "written")))
    assert (tmp_path / "written").exists()


@pytest.mark.parametrize("old", [False, True])
def test_a_hostile_pickle_is_refused_unread(opened, tmp_path, old):
    torch.save(
        {"weights": Payload(tmp_path / "written")},
        tmp_path / "state.pt",
        _use_new_zipfile_serialization=not old,
    )
    with pytest.raises(InferbenchError) as caught:
        opened(tmp_path / "state.pt", signature=SIGNATURE)
    assert caught.value.code == "IB-350"
    assert not (tmp_path / "written").exists()


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            for to, content in change(name, old.read(name)):
                new.writestr(to, content)
    return target


def hostile(tmp_path):
    torch.save({"weights": Payload(tmp_path / "written")}, tmp_path / "payload.pt")
    return (tmp_path / "payload.pt").read_bytes()


def test_a_hostile_pickle_inside_a_program_is_refused_unread(opened, tiny, tmp_path):
    payload = hostile(tmp_path)

    def change(name, content):
        if "sample_inputs" in name or name.endswith(("weight_0", "serialized_example_inputs.pt")):
            return [(name, payload)]
        if name.endswith("weights_config.json"):
            config = json.loads(content)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return [(name, json.dumps(config))]
        return [(name, content)]

    path = rewritten(tiny, tmp_path / "hostile.pt2", change)
    with pytest.raises(InferbenchError) as caught:
        opened(path)
    assert caught.value.code in ("IB-356", "IB-326")
    assert not (tmp_path / "written").exists()


def test_pickled_objects_inside_a_program_are_refused(tiny, tmp_path):
    def change(name, content):
        folder = name.partition("/")[0]
        added = [(f"{folder}/data/constants/opaque_obj_0", b"")] if "archive_format" in name else []
        return [(name, content), *added]

    with pytest.raises(InferbenchError, match="opaque_obj_0") as caught:
        kind_of(rewritten(tiny, tmp_path / "opaque.pt2", change))
    assert caught.value.code == "IB-356"


def test_missing_and_broken_files_are_named(opened, tiny, script, tmp_path):
    with pytest.raises(InferbenchError, match="there is no file") as caught:
        opened(tmp_path / "none.pt2")
    assert caught.value.code == "IB-326"
    (tmp_path / "text.pt2").write_text("not a model")
    with pytest.raises(InferbenchError, match="something else") as caught:
        opened(tmp_path / "text.pt2")
    assert caught.value.code == "IB-350"
    for file, part in ((tiny, "models/model.json"), (script, "data.pkl")):
        broken = rewritten(
            file,
            tmp_path / "broken",
            lambda name, content, part=part: [(name, b"{" if name.endswith(part) else content)],
        )
        with pytest.raises(InferbenchError, match="could not load") as caught:
            opened(broken, signature=SIGNATURE)
        assert caught.value.code == "IB-326"
        assert "newer torch" in caught.value.hint


def test_torchscript_is_not_compiled(opened, script):
    with pytest.raises(InferbenchError, match=r"torch\.compile does not take") as caught:
        opened(script, compile=True, signature=SIGNATURE)
    assert caught.value.code == "IB-353"


@pytest.mark.slow
def test_compiled_it_gives_the_same_for_any_batch(opened, tiny):
    backend = opened(tiny, compile=True)
    facts = backend.describe()
    assert facts["compile"] == "default"
    assert facts["compiled_graphs"] >= 1
    assert facts["graph_breaks"] == 0
    for count in (1, 3, 5, 0):
        output = backend.infer({"x": x(count)})["y"]
        np.testing.assert_allclose(output, expected(x(count)), rtol=1e-5, atol=1e-6)
    with ThreadPoolExecutor(4) as pool:
        for output in pool.map(lambda _: backend.infer({"x": x()})["y"], range(20)):
            np.testing.assert_allclose(output, expected(x()), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_without_a_compiler_the_error_says_so(tmp_path):
    """In a process of its own: what was compiled before is found again in torch's caches."""
    import subprocess
    import sys

    batch = ({0: torch.export.Dim("batch")},)
    path = exported(
        tmp_path / "t.pt2", Tiny().eval(), (torch.zeros(2, 4),), SIGNATURE, dynamic_shapes=batch
    )
    code = (
        "from pytest_inferbench.backends.torch_native import Torch\n"
        "from pytest_inferbench.errors import InferbenchError\n"
        "try:\n"
        f"    Torch().open({path!r}, {{'compile': True}}, 'fp32')\n"
        "except InferbenchError as error:\n"
        "    print(error)\n"
    )
    environment = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "[IB-354]" in done.stdout, done.stdout + done.stderr
    assert "C++ compiler" in done.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_on_cuda_it_runs_there_at_what_was_asked(opened, reference, precision):
    images, wanted = reference
    backend = opened(DETECTOR / "detector.pt2", precision, device="cuda")
    facts = backend.describe()
    assert facts["placement"] == {"cuda:0": 63}
    assert facts["precisions"] == {precision: 63}
    output = backend.infer({"images": images})["output0"]
    tolerance = {"fp32": 1e-2, "tf32": 2, "fp16": 2, "bf16": 12}[precision]
    assert np.abs(output - wanted).max() < tolerance
    backend.prepare({"images": images})()
    backend.synchronize()


def test_the_devices_own_time_is_told_on_a_gpu_alone(opened, tiny):
    import torch

    backend = opened(tiny, device="cuda" if torch.cuda.is_available() else "cpu")
    timer = backend.device_timer()
    if not torch.cuda.is_available():
        assert timer is None
        return
    assert timer(backend.prepare({"x": x()})) > 0
