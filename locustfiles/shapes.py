r"""How load changes over time; goes with one of the other files, whose table gets a line a step.

    locust -f locustfiles/triton.py,locustfiles/shapes.py --headless --model detector \
        --host grpc://localhost:8001 --load-shape sweep --levels 1,2,4,8,16 --step 10s

docs/load.md says what each shape is. In an open loop it is the rate that changes: `--rate` is the
largest.
"""

from __future__ import annotations

import time
from typing import Any

from locust import LoadTestShape, events

from pytest_inferbench.load.options import seconds_of
from pytest_inferbench.load.shapes import SHAPES, Step, levels_of, most_clients, steps_of

PATIENCE_S = 60.0


@events.init_command_line_parser.add_listener
def add_options(parser: Any, **_: Any) -> None:
    """Give Locust the options of a shape."""
    group = parser.add_argument_group("shape of the load")
    group.add_argument("--load-shape", choices=SHAPES, default="sweep")
    group.add_argument("--levels", default="", help="clients at each step of a sweep: 1,2,4,8")
    group.add_argument("--step", default="10s", help="how long a step of a sweep is measured")
    group.add_argument("--shape-time", default="60s", help="how long another shape takes in all")


class Shape(LoadTestShape):
    """Goes through the steps; each is measured from when all of its clients are there."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self._left: list[Step] | None = None
        self._now: Step | None = None
        self._most = 1
        self._since_s = 0.0

    def tick(self) -> tuple[int, float] | None:
        """Return the number of clients that there should be; None at the end."""
        environment: Any = self.runner.environment  # type: ignore[union-attr]
        driver, options = environment.load_driver, environment.parsed_options
        if self._left is None:
            self._left = self._steps(options)
            self._most = max(step.clients for step in self._left)
            driver.steps = len(self._left)
        elif self._now is not None and not self._over(driver):
            return self._clients(options)
        return self._next(driver, options)

    def _next(self, driver: Any, options: Any) -> tuple[int, float] | None:
        before = self._now
        if before is not None:
            driver.end()
        if not self._left:
            return None
        self._now = self._left.pop(0)
        self._since_s = time.monotonic()
        driver.step_s = self._now.seconds
        same = before is not None and (options.rate or before.clients == self._now.clients)
        if options.rate:
            driver.rate_share = self._now.clients / self._most
        if same:  # Locust tells nothing where the number of users stays
            driver.begin(driver.environment.runner.user_count)
        return self._clients(options)

    def _clients(self, options: Any) -> tuple[int, float]:
        assert self._now is not None
        clients = (options.num_users or self._most) if options.rate else self._now.clients
        return clients, float(options.spawn_rate or clients)

    def _over(self, driver: Any) -> bool:
        assert self._now is not None
        if driver.measured_s >= self._now.seconds:
            return True
        waited_s = time.monotonic() - self._since_s
        return not driver.measured_s and waited_s > self._now.seconds + PATIENCE_S

    def _steps(self, options: Any) -> list[Step]:
        sweep = options.load_shape == "sweep"
        seconds = seconds_of(options.step if sweep else options.shape_time, "the shape's time")
        most = most_clients(options.levels, options.num_users)
        return steps_of(options.load_shape, most, seconds, levels_of(options.levels))
