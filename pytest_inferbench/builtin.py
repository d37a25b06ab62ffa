"""The built-in detector and its data: what a gate runs on before anything is configured.

Takes settings without models; gives them the detector. Its images are generated from a seed on
first use, into the artifact cache, and never downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pytest_inferbench.locate import packaged_folder

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.settings.schema import ModelSettings, Settings

NAME = "detector"


def model_path() -> Path:
    """Return the committed model."""
    return packaged_folder("fixtures") / "detector" / "detector.onnx"


def with_builtin_models(settings: Settings) -> Settings:
    """Return settings that hold at least one model."""
    if settings.models:
        return settings
    import msgspec

    from pytest_inferbench.settings.schema import ModelSettings

    model = ModelSettings(
        path=model_path(),
        task="detection",
        layout="yolov8",
        sources={"torch": str(model_path().with_suffix(".pt2"))},
    )
    return msgspec.structs.replace(settings, models={NAME: model})


def is_builtin(model: ModelSettings) -> bool:
    """Whether a model is the built-in one, whose data is generated."""
    return model.data is None and model.path == model_path()


def data_set(cache: ArtifactCache, split: str, say: Callable[[str], None]) -> Path:
    """Return the `instances.json` of a split, generated on first use on this host."""
    script = packaged_folder("fixtures") / "detector" / "scenes.py"
    source = script.read_bytes()
    key = hashlib.sha256(source + b"\0" + split.encode()).hexdigest()

    def build(folder: Path) -> dict[str, object]:
        say(f"generating the built-in detector's {split} images, once on this host")
        made: Path = _load(script).write_dataset(folder, split)
        return {"instances": made.name}

    artifact = cache.get_or_build(key, {"data set": f"built-in detector, {split}"}, build)
    return Path(artifact.folder, "instances.json")


def _load(script: Path) -> ModuleType:
    """Import the generator from its file: fixtures are no package."""
    spec = importlib.util.spec_from_file_location(f"inferbench_fixture_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
