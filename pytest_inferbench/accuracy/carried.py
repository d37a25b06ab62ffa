"""What a carrier's integers stand for: takes an array and its declared type, gives numbers. Pure.

Types that numpy lacks travel as raw bits (`contract.CARRIERS`). Whoever compares or scores outputs
needs values: the cosine of two arrays of bits says nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]


def as_numbers(array: Array, type_name: str) -> Array:
    """Return an output's values, as float32 where they came as bits; anything else as it is.

    Raises:
        InferbenchError: IB-394 the type's bits cannot be read here.
    """
    if type_name == "bfloat16" and array.dtype == np.uint16:
        return bfloat16_values(array)
    if not type_name.startswith("float8") or array.dtype != np.uint8:
        return array
    try:
        import ml_dtypes

        kind = getattr(ml_dtypes, type_name)
    except (ImportError, AttributeError) as error:
        raise InferbenchError(
            "IB-394",
            f"{type_name} cannot be read as numbers: {error}",
            "A newer ml_dtypes, which comes with a newer onnx, knows it.",
        ) from error
    return np.asarray(array.view(kind), np.float32)


def bfloat16_values(bits: Array) -> Array:
    """Return what bits of bfloat16 stand for: they are the upper half of a float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
