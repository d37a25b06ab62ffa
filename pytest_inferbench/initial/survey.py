"""Looks at what was found: takes paths, gives a plan of the first settings.

Reads models' graphs, never their weights' values; runs none of them (that is `trial.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.initial.guess import Annotations, Guess, guess_task
from pytest_inferbench.initial.names import name_models
from pytest_inferbench.initial.plan import Plan, PlannedModel
from pytest_inferbench.initial.sizes import whole_shapes

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.inspect import ModelFacts, TensorFacts
    from pytest_inferbench.initial.search import Found
    from pytest_inferbench.initial.trial import Tried

MOST_MODELS = 20
"""Models that get a table; a folder with more is a collection of models, not a project's."""

_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_TELLING = 0.1
"""Outputs that differ by less between made-up inputs say little of anything but fp32."""


class Survey:
    """What is known of a folder.

    Attributes:
        facts: What each readable model is, by its path.
    """

    def __init__(
        self, folder: Path, found: Found, reserved: Collection[str], say: Callable[[str], None]
    ) -> None:
        """Look.

        Args:
            folder: Where the settings will be.
            found: What lies there.
            reserved: Names that no model may have.
            say: Is told what is read.
        """
        self._folder, self._found = folder, found
        self._say = say
        self.facts: dict[Path, ModelFacts] = {}
        self.notes: list[str] = []
        self._faults: dict[Path, str] = {}
        files = self._files()
        names = name_models([file.relative_to(folder) for file in files], reserved)
        self._names = dict(zip(files, names, strict=True))
        for file in files:
            self._read(file)
        self._annotations = list(self._usable_annotations())

    def _files(self) -> list[Path]:
        """Return the models that get a table, and say which do not."""
        speakable = [file for file in self._found.onnx if _speakable(self._told(file))]
        if odd := len(self._found.onnx) - len(speakable):
            self.notes.append(f"{odd} ONNX files have names that no settings can hold")
        if len(speakable) > MOST_MODELS:
            rest = [self._told(file) for file in speakable[MOST_MODELS:]]
            shown = ", ".join(rest[:5]) + (" ..." if len(rest) > 5 else "")
            self.notes.append(f"{len(rest)} further ONNX files are not here: {shown}")
        if self._found.unreadable:
            shown = ", ".join(map(self._told, self._found.unreadable[:5]))
            self.notes.append(f"folders that could not be looked into are left out: {shown}")
        if self._found.cut_short:
            self.notes.append(
                f"the folder holds more than {self._found.entries} files, and the rest was not"
                " looked at: name a folder nearer to the models"
            )
        return speakable[:MOST_MODELS]

    def _told(self, path: Path) -> str:
        """Return a path as the settings say it."""
        return path.relative_to(self._folder).as_posix()

    def _read(self, file: Path) -> None:
        from pytest_inferbench.artifacts.inspect import inspect

        try:
            self.facts[file] = inspect(file)
        except InferbenchError as error:
            self._faults[file] = self._here(f"[{error.code}] {error.message}")
        except (OSError, ValueError, RecursionError) as error:
            self._faults[file] = self._here(f"it cannot be read: {error}")

    def _here(self, text: str) -> str:
        """Return a text whose paths belong to the folder: the file may move to another machine."""
        return text.replace(f"{self._folder}{os.sep}", "")

    def _usable_annotations(self) -> list[Annotations]:
        from pytest_inferbench.accuracy.data import load_ground_truth

        usable = []
        for path in self._found.annotations:
            try:
                truth = load_ground_truth(path)
            except InferbenchError as error:
                self.notes.append(self._here(f"no annotations: [{error.code}] {error.message}"))
                continue
            usable.append(Annotations(self._told(path), len(truth.categories), len(truth.images)))
        # a training split is what nobody should be scored on
        return sorted(usable, key=lambda each: "train" in each.path.lower())

    def plan(
        self,
        backends: Sequence[str],
        missing: Mapping[str, str],
        tried: Mapping[Path, Tried] | None = None,
    ) -> Plan:
        """Return what the settings say.

        Args:
            backends: What can run here.
            missing: What cannot, with what it needs.
            tried: What each model showed when it was run; those that were not are guessed at.
        """
        models = [self._planned(file, (tried or {}).get(file)) for file in self._names]
        return Plan(tuple(models), tuple(backends), missing, tuple(self.notes))

    def _planned(self, file: Path, tried: Tried | None) -> PlannedModel:
        name, path = self._names[file], self._told(file)
        facts = self.facts.get(file)
        if facts is None:
            return PlannedModel(name, path, left_out=self._faults[file])
        guess = guess_task(facts, self._annotations, _cannot_score())
        calibration = self._calibration(facts, guess)
        data = guess.annotations.path if guess.annotations else self._arrays(facts)
        difference = 1.0 if data else tried.difference if tried else 0.0
        precisions, about, able = _precisions(file, facts, calibration, difference)
        whole = tried.shapes if tried else whole_shapes(facts.inputs)
        sizes = [f"free: {', '.join(whole.chosen)}" + _how_sure(tried)] if whole.chosen else []
        failure = self._here(tried.failure) if tried else ""
        given = data is not None and guess.task == "tensors"
        return PlannedModel(
            name,
            path,
            takes=tuple(map(_in_words, facts.inputs)),
            gives=tuple(map(_in_words, facts.outputs)),
            guess=guess,
            shapes=whole.shapes,
            sizes=tuple(sizes),
            calibration=calibration,
            data=data,
            precisions=precisions,
            about_precisions=about,
            quantizable=able,
            left_out="" if given else why_not_made_up(facts) or failure,
        )

    def _calibration(self, facts: ModelFacts, guess: Guess) -> str | None:
        for folder in self._found.calibration:
            suits = _holds_images(folder) if guess.task == "detection" else _fits(folder, facts)
            if suits:
                return self._told(folder)
        return None

    def _arrays(self, facts: ModelFacts) -> str | None:
        return next((self._told(each) for each in self._found.arrays if _fits(each, facts)), None)


def why_not_made_up(facts: ModelFacts) -> str:
    """Return why a model's inputs cannot be made up; empty where they can."""
    from pytest_inferbench.accuracy.data import random_inputs

    shapes = whole_shapes(facts.inputs).shapes
    small = {name: [1] * len(shape) for name, shape in shapes.items()}
    free = [spec for spec in facts.inputs if spec.name not in small]
    try:
        random_inputs([*free, *_ones(facts, small)], 1, 0)
    except InferbenchError as error:
        return f"[{error.code}] {error.message}. {error.hint}"
    return ""


def _ones(facts: ModelFacts, small: Mapping[str, list[int]]) -> list[TensorFacts]:
    from dataclasses import replace

    return [
        replace(spec, shape=tuple(small[spec.name])) for spec in facts.inputs if spec.name in small
    ]


def _precisions(
    file: Path, facts: ModelFacts, calibration: str | None, difference: float
) -> tuple[tuple[str, ...], str, bool]:
    """Return what a model is asked for, why not more, and whether int8 would change it."""
    from pytest_inferbench.artifacts.graph_facts import WEIGHTED

    ops, weights = _makeup(file)
    if ops.intersection(_QUANTIZED):
        return ("fp32",), "fp32 alone: the file itself is quantized, and is run as it is", False
    if "FLOAT" not in weights and all(spec.dtype != "float32" for spec in facts.inputs):
        return ("fp32",), "fp32 alone: the file has no float32 values to convert", False
    able = bool(ops & WEIGHTED)
    if difference < _TELLING:
        about = (
            "fp32 alone until there is data: of made-up inputs the outputs hardly differ"
            f" ({difference:.1%}), so rounding could not be told from a wrong answer"
        )
        return ("fp32",), about, able
    if not able:
        return ("fp32", "fp16"), "no int8: nothing in it has weights to quantize", False
    if calibration is None:
        return ("fp32", "fp16"), 'int8 too, once there is calibration = "a folder of samples"', True
    return ("fp32", "fp16", "int8"), "", True


def _makeup(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return a graph's operators and the types of its weights."""
    import onnx

    from pytest_inferbench.artifacts.inspect import all_tensors

    model: Any = onnx.load(str(file), load_external_data=False)
    ops = frozenset(node.op_type for node in model.graph.node)
    types = {int(tensor.data_type) for tensor in all_tensors(model)}
    names = onnx.TensorProto.DataType
    return ops, frozenset(names.Name(kind) for kind in types if kind in names.values())


def _how_sure(tried: Tried | None) -> str:
    return ": tried, and it runs" if tried and not tried.failure else ": a guess"


def _in_words(spec: TensorFacts) -> str:
    return f"{spec.name}: {spec.dtype} [{', '.join(map(str, spec.shape))}]"


def _speakable(path: str) -> bool:
    """Whether a path can stand in settings and mean itself there."""
    from pytest_inferbench.named.references import parse_reference

    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not path.startswith("~") and parse_reference(path) is None and "\0" not in path


def _cannot_score() -> str:
    from importlib import metadata

    try:
        metadata.version("pillow")
    except metadata.PackageNotFoundError:
        return "install what reads images: pip install 'pytest-inferbench[coco]'"
    return ""


def _holds_images(folder: Path) -> bool:
    from pytest_inferbench.accuracy.images import SUFFIXES

    return _first(folder, SUFFIXES) is not None


def _fits(folder: Path, facts: ModelFacts) -> bool:
    """Whether a folder's first .npz file holds the model's inputs, and nothing else."""
    from pytest_inferbench.accuracy.data import read_npz

    first = _first(folder, frozenset({".npz"}))
    if first is None:
        return False
    try:
        return set(read_npz(first)) == {spec.name for spec in facts.inputs}
    except InferbenchError:
        return False


def _first(folder: Path, suffixes: frozenset[str]) -> Path | None:
    """Return the first file with a suffix in a folder or below it; links are not followed."""
    for here, _, names in os.walk(folder):
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                return Path(here, name)
    return None
