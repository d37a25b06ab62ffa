r"""Load on a plain HTTP service: POST /infer or /embed, as docs/http-service.md has them.

    locust -f locustfiles/http_service.py --headless -u 16 -r 16 -t 60s --encoding image \
        --inputs photos --host http://localhost:8000/infer

docs/load.md says what every option does.
"""

from __future__ import annotations

from locust import events

from pytest_inferbench.load.driver import Driver, user_class

DRIVER = Driver("http_service", events)

ServiceUser = user_class(DRIVER, "ServiceUser")
