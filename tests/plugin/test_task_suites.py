"""The packaged suites on small real models of each task, on ONNX Runtime and OpenVINO."""

from __future__ import annotations

import json
import wave
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(11)

# Not by importing it: pytester forgets modules that tests import, and it cannot be loaded twice.
both = pytest.mark.skipif(find_spec("openvino") is None, reason="it takes OpenVINO")


def save(path, nodes, inputs, outputs, weights):
    ends = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
        for each in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)


def floats(*shape):
    return TensorProto.FLOAT, list(shape)


def write_classifier(path, classes=8, size=16):
    """Class k is the k-th random picture: a dense layer with one row of each."""
    weights = np.random.default_rng(5).normal(0, 1, (3 * size * size, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    shape = ("n", 3, size, size)
    save(path, nodes, {"x": floats(*shape)}, {"logits": floats("n", classes)}, {"w": weights})
    return weights.T.reshape(classes, 3, size, size)


def write_encoder(path, width=12):
    """Token ids with a mask -> a vector a token, and something else that nobody asks for."""
    table = np.random.default_rng(6).normal(0, 1, (50, width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["hidden"]),
        helper.make_node("Cast", ["attention_mask"], ["length"], to=TensorProto.FLOAT),
    ]
    tokens = (TensorProto.INT64, ["n", 6])
    save(
        path,
        nodes,
        {"input_ids": tokens, "attention_mask": tokens},
        {"length": floats("n", 6), "hidden": floats("n", 6, width)},
        {"table": table},
    )


@pytest.fixture
def model(project):
    """Replace the project's model by one of a task, on the given backends and precisions."""

    def configure(task, write, precisions=("fp32",), backends=("ort-cpu",), more=""):
        found = write(project.path / f"{task}.onnx")
        own = project.path / "inferbench.toml"
        text = own.read_text()
        text = text[: text.index("[models.net]")]
        text = text.replace('["ort-cpu"]', json.dumps(backends))
        text = text.replace('["fp32"]', json.dumps(precisions))
        own.write_text(f'{text}\n[models.net]\npath = "{task}.onnx"\ntask = "{task}"\n{more}')
        return found

    return configure


@pytest.fixture
def score(project, gate):
    """Run the accuracy suites; return the result and each test's part of the JSON by cell."""

    def run(*arguments):
        result = gate(
            "--inferbench-suites", "-m", "accuracy", "--inferbench-json=r.json", *arguments
        )
        found = json.loads((project.path / "r.json").read_text())
        tests = {
            (cell["backend"], cell["precision"], test.get("kind")): test
            for cell in found["cells"]
            for test in cell["tests"]
        }
        return result, tests

    return run


def write_rows(path, pictures, count=60, noise=6.0):
    classes = len(pictures)
    labels = np.arange(count) % classes
    rows = pictures[labels] + RNG.normal(0, noise, (count, *pictures.shape[1:]))
    np.savez(path, x=rows.astype(np.float32), labels=labels)


@both
def test_a_classifier_on_two_runtimes(project, model, score):
    pictures = model(
        "classification",
        write_classifier,
        ("fp32", "fp16"),
        ("ort-cpu", "openvino"),
        'data = "rows.npz"\n',
    )
    write_rows(project.path / "rows.npz", pictures)
    result, tests = score()
    assert result.ret == 0, result.stdout.str()
    cells = [key for key in tests if key[2] == "classification"]
    assert len(cells) >= 3
    for cell in cells:
        figures = tests[cell]["figures"]
        assert figures["top1_agreement"] == 1.0
        assert 0.5 < figures["top1"] <= figures["top5"] <= 1.0
        assert figures["top1_drop_low"] < 0 < figures["top1_drop_high"]


def test_a_classifier_whose_int8_is_calibrated_on_noise_says_what_changed(project, model, score):
    more = 'data = "rows.npz"\ncalibration = "noise.npz"\nbudgets = { cosine = false,'
    more += " centred_cosine = false, top1 = 0.2 }\n"
    pictures = model("classification", write_classifier, ("int8",), ("ort-cpu",), more)
    write_rows(project.path / "rows.npz", pictures)
    tiny = RNG.normal(0, 0.02, (16, *pictures.shape[1:])).astype(np.float32)
    np.savez(project.path / "noise.npz", x=tiny, labels=np.zeros(16, np.int64))
    result, tests = score("-k", "test_classification")
    assert result.ret == 1
    test = tests["ort-cpu", "int8", "classification"]
    by_metric = {j["metric"]: j["verdict"] for j in test["judgements"]}
    assert by_metric["top1_agreement"] == "regressed"
    assert "95 % interval" in test["reason"]
    assert "samples whose class changed" in test["reason"]


def test_images_in_folders_by_class(project, model, score):
    pillow = pytest.importorskip("PIL.Image")
    pictures = model(
        "classification",
        write_classifier,
        more='data = "val"\npreprocess = { style = "squash", mean = [0, 0, 0], std = [1, 1, 1] }\n',
    )
    for label, picture in enumerate(pictures):
        for number in range(2):
            pixels = (picture.transpose(1, 2, 0) * 60 + 128).clip(0, 255).astype(np.uint8)
            path = project.path / f"val/class-{label}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pillow.fromarray(pixels).save(path)
    result, tests = score()
    assert result.ret == 0, result.stdout.str()
    figures = tests["ort-cpu", "fp32", "classification"]["figures"]
    assert (figures["top1"], figures["top1_agreement"]) == (1.0, 1.0)


def test_labels_that_do_not_fit_fail_with_their_code(project, model, score):
    pictures = model(
        "classification", write_classifier, more='data = "rows.npz"\nlabels = "labels.csv"\n'
    )
    write_rows(project.path / "rows.npz", pictures, count=4)
    labels = project.path / "labels.csv"
    labels.write_text("row,label\n0,1\n1,2\n2,99\n3,0\n")
    result, _ = score("-k", "test_classification")
    result.stdout.fnmatch_lines(["*IB-582*sample 2 has the label 99*0 to 7*"])
    labels.write_text("row,label\n0,1\n1,2\n")
    result, _ = score("-k", "test_classification")
    result.stdout.fnmatch_lines(["*IB-581*no label for 2 of 4 samples, the first is 2*"])


def test_a_budget_on_what_the_data_cannot_say_is_told(model, score):
    model("classification", write_classifier, more="samples = 4\nbudgets = { top1 = 0.5 }\n")
    result, _ = score("-k", "test_classification")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*IB-507*top1 has a budget*the data have no labels*"])


def test_without_data_a_task_s_defaults_are_not_asked(model, score):
    model("classification", write_classifier, more="samples = 4\n")
    result, _ = score("-rs")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["skipped"], outcomes.get("failed")) == (1, 1, None)
    result.stdout.fnmatch_lines(["*IB-640*has no data*random ones*"])


@both
def test_an_embedder_on_two_runtimes(project, model, score):
    more = 'data = "texts"\noutput = "hidden"\npooling = "mean"\nrecall_at = 3\nthreshold = 0.99\n'
    model("embedding", write_encoder, ("fp32",), ("ort-cpu", "openvino"), more)
    (project.path / "texts").mkdir()
    for number in range(12):
        ids = np.random.default_rng(number % 11).integers(0, 50, (1, 6))
        mask = (np.arange(6) < 2 + number % 11 % 5)[None].astype(np.int64)
        np.savez(project.path / f"texts/{number:02}.npz", input_ids=ids, attention_mask=mask)
    result, tests = score("-k", "test_embedding")
    assert result.ret == 0, result.stdout.str()
    for backend in ("ort-cpu", "openvino"):
        figures = tests[backend, "fp32", "embedding"]["figures"]
        assert figures["embedding_cosine"] > 0.9999
        assert figures["recall_at_k"] == figures["duplicate_agreement"] == 1.0
        assert figures["duplicates"] == 1


def test_an_output_that_needs_pooling_says_so(project, model, score):
    more = 'data = "texts.npz"\noutput = "hidden"\n'
    model("embedding", write_encoder, more=more)
    ids = RNG.integers(0, 50, (5, 6))
    np.savez(project.path / "texts.npz", input_ids=ids, attention_mask=np.ones_like(ids))
    result, _ = score("-k", "test_embedding")
    result.stdout.fnmatch_lines(["*IB-584*shape ?1, 6, 12?, not one vector a row*"])
    own = project.path / "inferbench.toml"
    own.write_text(own.read_text().replace('"hidden"', '"hiden"'))
    result, _ = score("-k", "test_embedding")
    result.stdout.fnmatch_lines(["*IB-505*'hiden'*length, hidden*"])


def test_a_fixture_asked_of_another_task_says_how_to_narrow(project, model, gate):
    model("classification", write_classifier, more="samples = 4\n")
    project.makepyfile("def test_vectors(embeddings):\n    embeddings.vectors")
    result = gate("test_a_fixture_asked_of_another_task_says_how_to_narrow.py")
    result.stdout.fnmatch_lines(["*IB-504*`embeddings`*classification*", '*tasks=?"embedding"?*'])


def test_keys_that_a_task_does_not_read_are_refused(project, gate, model):
    model("classification", write_classifier, more='pooling = "cls"\nrecall_at = 3\n')
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['*models.net.pooling: task "classification" has no use for it: only "embedding" has*']
    )


def write_segmenter(path, size=32):
    """Each pixel's class is its brightest channel, as a 1 x 1 convolution says."""
    weights = (np.eye(3) * 4).astype(np.float32).reshape(3, 3, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "w"], ["scores"])]
    shape = ("n", 3, size, size)
    save(path, nodes, {"x": floats(*shape)}, {"scores": floats(*shape)}, {"w": weights})


def blocks(number, size=40):
    """Three vertical stripes whose widths depend on the number; their classes."""
    classes = np.zeros((size, size), np.int64)
    classes[:, 8 + number : 24], classes[:, 24 + number :] = 1, 2
    return (np.eye(3)[np.roll(classes, 9 * number, axis=1)] * 255).astype(np.uint8)


@both
def test_a_segmenter_with_masks_beside_its_images(project, model, score):
    pillow = pytest.importorskip("PIL.Image")
    more = 'data = "val"\npreprocess = { style = "squash" }\nbudgets = { miou = 0.9 }\n'
    model("segmentation", write_segmenter, ("fp32", "fp16"), ("ort-cpu", "openvino"), more)
    for number in range(4):
        picture = blocks(number)
        for kind, pixels in (("images", picture), ("masks", picture.argmax(2).astype(np.uint8))):
            (project.path / f"val/{kind}").mkdir(parents=True, exist_ok=True)
            pillow.fromarray(pixels).save(project.path / f"val/{kind}/{number}.png")
    result, tests = score("-k", "test_segmentation")
    assert result.ret == 0, result.stdout.str()
    for cell, test in tests.items():
        assert cell[2] == "segmentation"
        figures = test["figures"]
        assert figures["mask_iou"] > 0.99
        assert 0.9 < figures["miou"] <= 1
        assert abs(figures["miou_drop"]) < 0.005
        assert figures["mask_iou_null"] < 0.8
    masks = project.path / "val/masks"
    (masks / "2.png").write_bytes((masks / "0.png").read_bytes())
    result, _ = score("-k", "test_segmentation and fp32 and ort-cpu")
    result.stdout.fnmatch_lines(["*miou regressed*", "*least at 2.png*"])
    (masks / "2.png").unlink()
    result, _ = score("-k", "test_segmentation and fp32 and ort-cpu")
    result.stdout.fnmatch_lines(["*IB-581*the image 2.png has no mask*"])


def test_masks_above_a_threshold_without_a_truth(project, model, score):
    more = 'data = "rows.npz"\nthreshold = 0.0\nbudgets = { mask_iou = 0.99 }\n'
    model("segmentation", write_segmenter, more=more)
    rows = RNG.normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    np.savez(project.path / "rows.npz", x=rows)
    result, tests = score("-k", "test_segmentation")
    assert result.ret == 0, result.stdout.str()
    figures = tests["ort-cpu", "fp32", "segmentation"]["figures"]
    assert figures["mask_iou"] == 1.0
    assert figures["mask_iou_null"] == pytest.approx(1 / 3, abs=0.05)


def write_speech(path, tokens=24, bands=80, frames=20, width=16):
    """Features -> states; tokens and states -> the next token, without a past."""
    rng = np.random.default_rng(9)
    encoder = {"w": (rng.normal(0, 1, (bands, width)) / 9).astype(np.float32)}
    nodes = [
        helper.make_node("Transpose", ["features"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "w"], ["s"]),
        helper.make_node("Tanh", ["s"], ["states"]),
    ]
    ends = {"features": floats(1, bands, frames)}, {"states": floats(1, frames, width)}
    save(path, nodes, *ends, encoder)
    decoder = {
        "table": rng.normal(0, 1, (tokens, width)).astype(np.float32),
        "out": rng.normal(0, 1, (width, tokens)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("ReduceMean", ["encoder_hidden_states"], ["c"], axes=[1], keepdims=1),
        helper.make_node("Add", ["e", "c"], ["h"]),
        helper.make_node("Tanh", ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "out"], ["logits"]),
    ]
    inputs = {
        "input_ids": (TensorProto.INT64, [1, "n"]),
        "encoder_hidden_states": floats(1, frames, width),
    }
    save(path.with_name("decoder.onnx"), nodes, inputs, {"logits": floats(1, "n", tokens)}, decoder)


SPEECH = """
data = "sounds"
sources = { decoder = "decoder.onnx" }
speech = { prompt = [1, 2], end = 3, max_tokens = 12 }
"""


@pytest.fixture
def sounds(project):
    (project.path / "sounds").mkdir()
    for number in range(4):
        t = np.arange(2400 + 100 * number) / 16000
        sound = 0.4 * np.sin(2 * np.pi * (300 + 500 * number) * t) + RNG.normal(0, 0.02, len(t))
        with wave.open(str(project.path / f"sounds/{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((sound * 32767).astype("<i2").tobytes())


@both
@pytest.mark.slow
def test_speech_on_two_runtimes(project, model, score, sounds):
    budgets = "budgets = { token_agreement = { int8 = 0.1 }, cosine = { int8 = 0.9 } }\n"
    calibration = 'calibration = "sounds"\n'
    precisions = ("fp32", "fp16", "int8")
    runtimes = ("ort-cpu", "openvino")
    model("speech", write_speech, precisions, runtimes, SPEECH + calibration + budgets)
    result, tests = score("-k", "test_speech")
    assert result.ret == 0, result.stdout.str()
    assert len(tests) == 6
    for cell, test in tests.items():
        agreement = test["figures"]["token_agreement"]
        assert agreement == 1.0 if cell[1] == "fp32" else agreement > 0.1


def test_words_and_their_errors(project, model, score, sounds):
    pytest.importorskip("jiwer")
    more = 'labels = "said.csv"\nbudgets = { wer = 99 }\n'
    settings = SPEECH.replace("max_tokens = 12", 'max_tokens = 12, vocabulary = "vocab.json"')
    model("speech", write_speech, more=settings + more)
    words = {f"\u0120w{number}": number for number in range(24)}
    (project.path / "vocab.json").write_text(json.dumps(words))
    (project.path / "said.csv").write_text("file,text\n0.wav,w1 w2\n1.wav,x\n2.wav,y\n3.wav,z\n")
    project.makepyfile(
        """
        import pytest

        @pytest.mark.accuracy
        @pytest.mark.inferbench(tasks=["speech"])
        def test_texts(transcripts):
            assert len(transcripts.texts) == len(transcripts.tokens) == 4
            assert transcripts.texts[0].startswith("w")
            (transcripts._run.gate.settings.source.parent / "texts").write_text(
                "\\n".join(transcripts.texts)
            )
        """
    )
    result, tests = score("-k", "test_speech or test_texts", ".")
    assert result.parseoutcomes()["passed"] >= 1, result.stdout.str()
    heard = (project.path / "texts").read_text().splitlines()
    (project.path / "said.csv").write_text(
        "file,text\n" + "".join(f"{i}.wav,{text}\n" for i, text in enumerate(heard))
    )
    result, tests = score("-k", "test_speech")
    figures = tests["ort-cpu", "fp32", "speech"]["figures"]
    assert (figures["wer"], figures["wer_rise"]) == (0.0, 0.0)


def test_a_decoder_with_a_past_says_how_to_export_it(project, model, score, sounds):
    model("speech", write_speech, more=SPEECH)
    path = project.path / "decoder.onnx"
    changed = onnx.load(path)
    changed.graph.input.append(
        helper.make_tensor_value_info("past_key_values", TensorProto.FLOAT, [1, 2])
    )
    onnx.save(changed, path)
    result, _ = score("-k", "test_speech")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*IB-590*past_key_values*", "*without past*"])


def test_what_speech_needs_is_asked_for(model, gate, sounds):
    model("speech", write_speech, more='data = "sounds"\n')
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for key in ("sources.decoder", "speech.prompt", "speech.end"):
        result.stderr.fnmatch_lines([f"*models.net.{key}: is required*"])
