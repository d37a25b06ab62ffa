r"""Load on Triton, or any server of KServe's protocol: over HTTP, gRPC, or shared memory.

    locust -f locustfiles/triton.py --headless -u 16 -r 16 -t 60s --model detector \
        --host grpc://localhost:8001

docs/load.md says what every option does.
"""

from __future__ import annotations

from locust import events

from pytest_inferbench.load.driver import Driver, user_class

DRIVER = Driver("triton", events)

TritonUser = user_class(DRIVER, "TritonUser")
