"""The messages of Triton's protocol, from its own package; a named error where that is not whole.

Imported when a server is in play and not before: `tritonclient` may be absent, or be there without
what its gRPC part needs, which it says as if nobody had asked for that part.
"""

from __future__ import annotations

import importlib
from typing import Any

from pytest_inferbench.errors import InferbenchError


def message_module(name: str) -> Any:
    """Return a module of `tritonclient.grpc`, such as `service_pb2`.

    Raises:
        InferbenchError: It cannot be imported (IB-817).
    """
    try:
        return importlib.import_module(f"tritonclient.grpc.{name}")
    except (ImportError, RuntimeError, TypeError) as error:
        cause = error.__cause__ or error.__context__
        because = f" ({cause})" if cause else ""
        raise InferbenchError(
            "IB-817",
            f"the messages of Triton's protocol cannot be read here: {error}{because}",
            "pip install 'pytest-inferbench[triton]' there: tritonclient with grpcio and protobuf.",
        ) from error
