"""The samples that a model is run on, from files or from a seed.

Takes paths, sizes and input specifications; gives sequences of samples that are read one at a
time, with a hash for cache keys. Knows neither workers nor scores.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.ground_truth import GroundTruth, Image, parse_ground_truth
from pytest_inferbench.accuracy.images import SUFFIXES, Pixels, read_rgb
from pytest_inferbench.accuracy.letterbox import Placement, letterbox, to_input
from pytest_inferbench.backends.contract import CARRIERS
from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]
Tensor = npt.NDArray[np.float32]
Sample = dict[str, Array]
T = TypeVar("T")

_LOADING = "1"  # part of every hash of files: raise it when the same files load differently


class InputSpec(Protocol):
    """What must be known of a model's input to make one up."""

    @property
    def name(self) -> str:
        """What the model calls it."""

    @property
    def dtype(self) -> str:
        """Its type as numpy calls it, or a key of `contract.CARRIERS`."""

    @property
    def shape(self) -> Sequence[int | str]:
        """Its sizes; a name or -1 where the size is free."""


class Files(Sequence[T], Generic[T]):
    """Samples of which each is a file, read when it is asked for and then forgotten."""

    def __init__(self, paths: Sequence[Path], read: Callable[[int], T], facts: str = "") -> None:
        """Take the files, how to read the i-th, and what besides them decides what is read."""
        self.paths = tuple(paths)
        self._read = read
        self._facts = facts

    @cached_property
    def data_sha256(self) -> str:
        """What identifies these samples in cache keys: the contents, not the place."""
        return files_sha256(self.paths, self._facts)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Read one sample, or several."""
        chosen = range(len(self.paths))[index]
        return self._read(chosen) if isinstance(chosen, int) else [self._read(i) for i in chosen]


def samples_sha256(samples: Iterable[Mapping[str, Array]]) -> str:
    """Return what identifies samples of named arrays in cache keys."""
    digest = hashlib.sha256()
    for sample in samples:
        for name, array in sorted(sample.items()):
            digest.update(repr((name, array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(b"end")
    return digest.hexdigest()


def load_ground_truth(instances_json: Path, limit: int | None = None) -> GroundTruth:
    """Read and check COCO annotations and that their images exist.

    Args:
        instances_json: The annotations; images lie beside them or in ``images/`` there.
        limit: Keep only this many images, the first ones.

    Raises:
        InferbenchError: IB-520 to IB-525 as `parse_ground_truth` says, IB-526 without an image.
    """
    try:
        text = instances_json.read_bytes()
    except OSError as error:
        raise InferbenchError(
            "IB-520", f"the annotations {instances_json} cannot be read: {error.strerror}"
        ) from error
    truth = parse_ground_truth(text, str(instances_json)).first(_checked_limit(limit))
    for image in truth.images:
        image_path(instances_json, image)
    return truth


def image_path(instances_json: Path, image: Image) -> Path:
    """Return where an image of the annotations lies; IB-526 if it does not exist."""
    beside = instances_json.parent
    tried = [folder / image.file_name for folder in (beside / "images", beside)]
    for path in tried:
        if path.is_file():
            return path
    raise InferbenchError(
        "IB-526",
        f"{instances_json} lists the image {image.file_name!r} (id {image.id}), "
        f"and neither {tried[0]} nor {tried[1]} exists",
    )


def load_detection_inputs(
    instances_json: Path, input_size: tuple[int, int], limit: int | None = None
) -> Files[tuple[int, Tensor, Placement]]:
    """Return the annotated images, each as its id, its input [1, 3, H, W] and its placement.

    Args:
        instances_json: COCO annotations; images lie beside them or in ``images/`` there.
        input_size: Height and width of the model's input.
        limit: Take only this many images, the first ones.

    Raises:
        InferbenchError: As `load_ground_truth` says; when an image is read, IB-541 if it is broken
            and IB-527 if its size is not the annotated one.
    """
    images = load_ground_truth(instances_json, limit).images
    paths = [image_path(instances_json, image) for image in images]

    def read(i: int) -> tuple[int, Tensor, Placement]:
        pixels = read_rgb(paths[i])
        _check_size(pixels, images[i], paths[i])
        padded, placement = letterbox(pixels, input_size)
        return images[i].id, to_input(padded), placement

    return Files(paths, read, facts=repr((input_size, [image.id for image in images])))


def load_calibration_images(
    folder: Path, input_size: tuple[int, int], limit: int | None = None
) -> Files[Tensor]:
    """Return the images under a folder, each as an input [1, 3, H, W].

    Raises:
        InferbenchError: IB-542 for a folder that is missing or has no images; IB-541 when a
            broken image is read.
    """
    paths = find_files(folder, SUFFIXES, "images", limit)
    return Files(
        paths, lambda i: to_input(letterbox(read_rgb(paths[i]), input_size)[0]), repr(input_size)
    )


def load_tensor_inputs(folder: Path, limit: int | None = None) -> Files[Sample]:
    """Return the .npz files under a folder, each as one sample of arrays by input name.

    Raises:
        InferbenchError: IB-542 for a folder that is missing or has no .npz; when a file is read,
            IB-544 if it is broken, holds no arrays, or holds pickled objects.
    """
    paths = find_files(folder, frozenset({".npz"}), ".npz files", limit)
    return Files(paths, lambda i: read_npz(paths[i]))


def random_inputs(
    specs: Sequence[InputSpec],
    samples: int,
    seed: int,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[Sample]:
    """Make samples up: normal floats, integers of 0 and 1, bytes of 0 to 255, random booleans.

    Integers are 0 and 1 because these are valid as masks, as token ids and as segment ids. What
    numpy has no type for is in its carrier; text and eight-bit floats are not made up.

    Args:
        specs: The model's inputs.
        samples: How many to make.
        seed: The same seed makes the same samples.
        shapes: Whole shapes by input name. Without one a free first axis is a batch of 1.

    Raises:
        InferbenchError: IB-543 for an axis that nobody gave a size, a shape that contradicts the
            model, or a type that cannot be made up.
    """
    given = shapes or {}
    unknown = sorted(set(given) - {spec.name for spec in specs})
    if unknown:
        raise InferbenchError(
            "IB-543",
            f"models.<name>.shapes names {unknown[0]!r}, which is no input of the model",
            f"its inputs are {', '.join(spec.name for spec in specs)}",
        )
    if not specs:
        raise InferbenchError("IB-543", "the model has no inputs to make up")
    _checked_limit(samples)
    sizes = [_resolve_shape(spec, given.get(spec.name)) for spec in specs]
    rng = np.random.default_rng(seed)
    return [
        {spec.name: _random_array(rng, spec, size) for spec, size in zip(specs, sizes, strict=True)}
        for _ in range(samples)
    ]


def _resolve_shape(spec: InputSpec, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None and not _agrees(spec.shape, given):
        raise InferbenchError(
            "IB-543",
            f"models.<name>.shapes gives {spec.name!r} the shape {list(given)}, "
            f"and the model says {list(spec.shape)}",
        )
    sizes: Sequence[int | str] = given or [
        1 if i == 0 and _is_free(own) else own for i, own in enumerate(spec.shape)
    ]
    if any(map(_is_free, sizes)):
        raise InferbenchError(
            "IB-543",
            f"input {spec.name!r} has the shape {list(spec.shape)}; without data, "
            "somebody must say how large its free axes are",
            f'set models.<name>.shapes, such as shapes = {{ "{spec.name}" = [1, 3, 224, 224] }}',
        )
    return tuple(int(size) for size in sizes)


def _agrees(own: Sequence[int | str], given: Sequence[int]) -> bool:
    return len(own) == len(given) and all(
        a == b or _is_free(a) for a, b in zip(own, given, strict=True)
    )


def _is_free(size: int | str) -> bool:
    return not isinstance(size, int) or size < 1


def as_input(values: Array, spec: InputSpec) -> Array:
    """Return numbers in the type of an input, or in its carrier.

    Raises:
        InferbenchError: IB-543 for a type that numbers cannot be turned into here.
    """
    if spec.dtype == "bfloat16":
        from pytest_inferbench.artifacts.bfloat16 import round_to_bfloat16

        return round_to_bfloat16(values.astype(np.float32, copy=False))
    dtype = _numpy_type(spec)
    if dtype is None:
        raise InferbenchError(
            "IB-543",
            f"input {spec.name!r} is of type {spec.dtype!r}, of which no values can be made up",
            "give the model data: models.<name>.data = a folder of .npz files",
        )
    return values.astype(dtype, copy=False)


def _numpy_type(spec: InputSpec) -> np.dtype[Any] | None:
    """Return what whole or floating numbers of an input are kept in, if that is known."""
    if spec.dtype == "bfloat16":
        return np.dtype(np.float32)
    carried = CARRIERS.get(spec.dtype)
    if carried is not None:  # four bits are numbers in their carrier, other carriers hold raw bits
        return np.dtype(carried) if spec.dtype in ("int4", "uint4") else None
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        return None
    return dtype if dtype.kind in "fiub" and dtype.isbuiltin == 1 else None


def _random_array(rng: np.random.Generator, spec: InputSpec, size: tuple[int, ...]) -> Array:
    dtype = _numpy_type(spec)
    if dtype is None or dtype.kind == "f":
        return as_input(rng.standard_normal(size), spec)
    return as_input(rng.integers(0, 256 if spec.dtype == "uint8" else 2, size), spec)


def read_npz(path: Path) -> Sample:
    """Return the arrays of a file by name; IB-544 if it is broken, empty, or holds objects."""
    try:
        with np.load(path, allow_pickle=False) as file:
            sample = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InferbenchError(
            "IB-544",
            f"{path} cannot be read: {error}",
            "write it with numpy.savez(path, input_name=array); pickled objects are refused",
        ) from error
    if not sample:
        raise InferbenchError("IB-544", f"{path} holds no arrays")
    return sample


def samples_up_to(found: Sequence[T], limit: int | None) -> Sequence[T]:
    """Return the first ones; IB-545 for a limit that leaves nothing."""
    return found[: _checked_limit(limit)]


def find_files(folder: Path, suffixes: frozenset[str], what: str, limit: int | None) -> list[Path]:
    """Return the files under a folder by suffix, hidden ones left out; IB-542 if there are none."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        state = "has no " + what if folder.is_dir() else "is not a folder"
        raise InferbenchError("IB-542", f"{folder} {state}: there is nothing to run the model on")
    return found[: _checked_limit(limit)]


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise InferbenchError("IB-545", f"a limit of {limit} samples leaves nothing to run")
    return limit


def _check_size(pixels: Pixels, image: Image, path: Path) -> None:
    height, width = pixels.shape[:2]
    if (image.width or width, image.height or height) != (width, height):
        raise InferbenchError(
            "IB-527",
            f"{path} is {width} x {height}, the annotations say {image.width} x {image.height}: "
            "their boxes are about another image",
            "if EXIF turns the image, annotate it the way up that it is shown",
        )


def files_sha256(paths: Sequence[Path], facts: str) -> str:
    """Hash the contents of files, and what else decides what is read of them."""
    digest = hashlib.sha256(f"{_LOADING} {facts}".encode())
    for path in paths:
        each = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    each.update(chunk)
        except OSError as error:
            raise InferbenchError("IB-541", f"{path} cannot be read: {error.strerror}") from error
        digest.update(each.digest())
    return digest.hexdigest()
