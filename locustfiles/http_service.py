r"""Load on a plain HTTP service: POST /infer or /embed, as docs/http-service.md has them.

    locust -f locustfiles/http_service.py --headless -u 16 -r 16 -t 60s --encoding image \
        --inputs photos --host http://localhost:8000/infer
"""

from __future__ import annotations

from locust import events

from pytest_inferbench.load.driver import Driver, LoadUser

DRIVER = Driver("http_service", events)


class ServiceUser(LoadUser):
    """A client that asks again when it was answered, or when an open loop's next request is due."""

    driver = DRIVER
