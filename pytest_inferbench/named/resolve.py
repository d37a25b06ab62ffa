"""From a model's name to its files: takes a model's settings, gives them with a path to a file.

Nothing is built before a cell needs it. A user's own file, given as `path`, passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.named.references import BUILT, ZOO, Reference, parse_reference

if TYPE_CHECKING:
    from pytest_inferbench.artifacts.cache import ArtifactCache
    from pytest_inferbench.settings.schema import ModelSettings


def why_absent(model: ModelSettings) -> str | None:
    """Return why a named model cannot be had here, None if it can or is a file.

    Only what is known without running anything: an architecture may yet fail to be built.
    """
    places = (str(model.path), *model.sources.values())
    named = [parse_reference(place) for place in places]
    trained = [each.name for each in named if each is not None and each.scheme == ZOO]
    if not trained:
        return None
    from pytest_inferbench.named.zoo import why_absent as absent_from_zoo

    return next((why for why in map(absent_from_zoo, trained) if why), None)


def resolved(
    model: ModelSettings, cache: ArtifactCache, say: Callable[[str], None]
) -> ModelSettings:
    """Return the settings with files as `path` and `sources`, and the samples beside the model.

    The samples are its `data` and `calibration` where the settings name none.

    Raises:
        InferbenchError: The model cannot be had: IB-470 to IB-479.
    """
    import msgspec

    sources = {
        kind: str(locate(reference, cache, say)) if reference else place
        for kind, place in model.sources.items()
        for reference in [parse_reference(place)]
    }
    if sources != model.sources:
        model = msgspec.structs.replace(model, sources=sources)
    reference = parse_reference(model.path)
    if reference is None:
        return model
    path = locate(reference, cache, say)
    beside = {"data": path.parent / "data", "calibration": path.parent / "calibration"}
    changes = {
        field: folder
        for field, folder in beside.items()
        if getattr(model, field) is None and folder.is_dir()
    }
    return msgspec.structs.replace(model, path=path, **changes)


def locate(
    reference: Reference,
    cache: ArtifactCache,
    say: Callable[[str], None],
    python: str | None = None,
) -> Path:
    """Return a named model's ONNX file, built or converted on first use.

    Args:
        reference: Its name.
        cache: Where what is built is kept.
        say: Told the progress.
        python: The Python that builds; see `exporting.export_python`.

    Raises:
        InferbenchError: As `resolved`.
    """
    from pytest_inferbench.named.catalog import fault_of

    fault = fault_of(reference)
    if fault:
        raise InferbenchError("IB-470", fault)
    if reference.scheme == BUILT:
        from pytest_inferbench.named.exporting import MODEL_FILE, Exporter

        return Exporter(cache, say, python).get(reference.name).folder / MODEL_FILE
    from pytest_inferbench.named.zoo import Zoo

    return Zoo(cache, say, python).get(reference.name)
