"""What the locust files share: takes Locust's events, gives users work and a verdict at the end.

One `Driver` lives in each process. Where Locust is distributed, the master's begins and ends each
stretch by message and puts the parts together; latencies are counted where they were measured.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load import locust_stats, options, verdict
from pytest_inferbench.load.result import LoadResult, of_json
from pytest_inferbench.load.session import Session, patience_s
from pytest_inferbench.load.shapes import most_clients
from pytest_inferbench.load.stretches import Parts, Stretch, shares
from pytest_inferbench.load.wire import RequestError

if TYPE_CHECKING:
    from pytest_inferbench.load.plan import LoadPlan, Service
    from pytest_inferbench.load.session import User as Asking

_BEGIN, _COUNTS, _END, _PART, _FAULT = (
    f"inferbench-{word}" for word in ("begin", "counts", "end", "part", "fault")
)
_FOLD_S = 1.0
_PATIENCE_S = 5.0
"""How long parts may be on their way."""


class Driver:
    """Makes load of one kind in one process of Locust's."""

    def __init__(self, service: Service, events: Any) -> None:
        self.service: Service = service
        self.results: list[LoadResult] = []
        self.faults: list[str] = []
        self.rate_share = 1.0
        """The part of the planned rate that is due in the stretches to come."""
        self.steps = 0
        """How many stretches a shape has; none where there is no shape."""
        self.step_s = 0.0
        """How long a shape has the stretches to come measured."""
        self._session: Session | None = None
        self._lock: Any = None
        self._stretch: Stretch | None = None
        self._parts = Parts()
        self._ending: Any = None
        self._failed = self._judged = False
        events.init_command_line_parser.add_listener(
            lambda parser, **_: options.add_options(parser, service)
        )
        events.init.add_listener(self._init)

    # --- what users and shapes call

    def user(self) -> Asking:
        """Return one more client; the first makes the requests of all."""
        from locust.exception import StopUser

        try:
            return self.session().user()
        except (InferbenchError, RequestError) as error:
            self.fail(str(error))
            raise StopUser from None

    def work(self, user: Asking) -> None:
        """Let a client ask for a while."""
        session = self._session
        if session is not None:
            session.work(user)

    def session(self) -> Session:
        """Return what this process has prepared."""
        from locust.exception import StopUser

        with self._lock:
            if self._session is None:
                if self.faults:
                    raise StopUser
                clients = self._most_clients
                tell = partial(locust_stats.tell, self.environment.stats, self.kind, self.name)
                self._session = Session(self.plan, clients, tell, self._tell_failure)
            return self._session

    @property
    def plan(self) -> LoadPlan:
        """What the options say, of the master where there is one."""
        parsed = self.environment.parsed_options
        # Locust keeps the host of a master, or of its web page, to itself.
        parsed.host = self.environment.host or parsed.host
        return options.plan_of(parsed, self.service)

    @property
    def measured_s(self) -> float:
        """How long the stretch has counted."""
        return self._stretch.measured_s if self._stretch is not None else 0.0

    def begin(self, clients: int) -> None:
        """Begin a stretch in every process, with so many users in all; one that is open ends."""
        self.end()
        try:
            plan = self.plan
        except InferbenchError as error:
            self.fail(str(error))
            return
        rate = None if plan.rate_per_s is None else plan.rate_per_s * self.rate_share
        runner = self.environment.runner
        if not self._conducts:
            self._stretch = Stretch(clients, 1, self._due_s)
            self._begin_here({"clients": clients, "rate_per_s": rate})
        else:
            users = {node.id: node.user_count for node in runner.clients.all if node.user_count}
            self._stretch = Stretch(clients, len(users), self._due_s)
            self._parts.expect(users)
            for number, (node, share) in enumerate(shares(users).items()):
                told = {
                    "clients": users[node],
                    "rate_per_s": None if rate is None else rate * share,
                    "number": number,
                    "phase": number / len(users),
                }
                runner.send_message(_BEGIN, told, client_id=node)

    def end(self) -> None:
        """End the stretch in every process, and keep what came of it.

        Who ends it too meanwhile waits for that: else the run would be judged without it.
        """
        with self._ending:
            stretch, self._stretch = self._stretch, None
            if stretch is None:
                return
            shortfall = stretch.shortfall
            result, lost = self._ended_everywhere() if self._conducts else (self._ended_here(), 0)
            if not stretch.counted:
                if not self._failed:
                    self.faults.append(verdict.nothing(shortfall))
                return
            if result is not None:
                self.results.append(result)
            if lost:
                self.faults.append(
                    f"{lost} of {lost + (result.processes if result else 0)} processes did not "
                    "tell what came of their load"
                )
            if shortfall and not self._failed:
                self.faults.append(shortfall)

    def _ended_here(self) -> LoadResult | None:
        return self._session.end() if self._session is not None else None

    def _ended_everywhere(self) -> tuple[LoadResult | None, int]:
        import gevent

        runner = self.environment.runner
        for node in self._parts.expected:
            runner.send_message(_END, None, client_id=node)
        with gevent.Timeout(_PATIENCE_S + patience_s(self.plan), False):
            while not self._parts.complete:
                gevent.sleep(0.01)
        return self._parts.taken()

    @property
    def _most_clients(self) -> int:
        """How many clients this process will have at once; a shape begins with few of them."""
        options, now = self.environment.parsed_options, self.environment.runner.target_user_count
        if not hasattr(options, "load_shape"):
            return now or 1
        return max(now or 1, most_clients(options.levels, options.num_users))

    @property
    def _due_s(self) -> float:
        if self.steps:
            return self.step_s
        return self.plan.seconds if self.environment.parsed_options.measure else 0.0

    def _shortage(self) -> list[str]:
        """Say what the run lacks that was to have several stretches."""
        options = self.environment.parsed_options
        due = self.steps or (options.runs if options.measure else 0)
        if self.faults or not self.results or len(self.results) >= due:
            return []
        return [f"{len(self.results)} of {due} stretches were measured"]

    def fail(self, text: str) -> None:
        """Note that no load can be made, and end the run."""
        import gevent

        runner = self.environment.runner
        if self._is_worker:
            runner.send_message(_FAULT, {"text": text})
        if text in self.faults:
            return
        self.faults.append(text)
        self._failed = True
        if not self._is_worker:
            gevent.spawn(runner.quit)

    # --- Locust's events

    def _init(self, environment: Any, runner: Any, **_: Any) -> None:
        import gevent
        from gevent.lock import RLock
        from locust.runners import MasterRunner, WorkerRunner

        self.environment: Any = environment
        self._lock, self._ending = RLock(), RLock()
        self._conducts = isinstance(runner, MasterRunner)
        self._is_worker = isinstance(runner, WorkerRunner)
        environment.load_driver = self
        self.kind, self.name = self.service, "infer"
        events = environment.events
        events.quitting.add_listener(self._quitting)
        if self._is_worker:
            runner.register_message(_BEGIN, self._on_begin, concurrent=True)
            runner.register_message(_END, self._on_end, concurrent=True)
            gevent.spawn(self._fold_now_and_then)
            return
        events.test_start.add_listener(lambda **_: self._started())
        events.spawning_complete.add_listener(lambda user_count, **_: self.begin(user_count))
        events.test_stopping.add_listener(lambda **_: self.end())
        if self._conducts:
            runner.register_message(_PART, self._on_part)
            runner.register_message(_COUNTS, lambda **_: self._counts())
            runner.register_message(_FAULT, lambda msg, **_: self.fail(msg.data["text"]))
        else:
            gevent.spawn(self._fold_now_and_then)
        try:
            self.judge = verdict.Judge(environment.parsed_options, Path.cwd())
        except InferbenchError as error:
            print(error, file=sys.stderr)  # noqa: T201
            sys.exit(2)

    def _started(self) -> None:
        self.results, self.faults, self._failed = [], [], False

    def _begin_here(self, told: dict[str, Any]) -> None:
        from locust.exception import StopUser

        try:
            self.session().begin(self._counts, **told)
        except StopUser:
            pass
        except InferbenchError as error:
            self.fail(str(error))

    def _counts(self) -> None:
        """Note that the stretch counts, here or in one more worker; its time runs from then."""
        import gevent

        if self._is_worker:
            self.environment.runner.send_message(_COUNTS, None)
            return
        stretch = self._stretch
        if stretch is None or not stretch.counts():
            return
        if self.environment.parsed_options.measure:
            gevent.spawn(self._finish, stretch, self.plan.seconds)

    def _finish(self, stretch: Stretch, seconds: float) -> None:
        import gevent

        # Timers run by the loop's own clock, which may lag behind: they can be early.
        while stretch.measured_s < seconds:
            gevent.sleep(seconds - stretch.measured_s)
        if stretch is not self._stretch:
            return
        self.end()
        if len(self.results) < self.environment.parsed_options.runs and not self.faults:
            self.begin(stretch.clients)
        else:
            self.environment.runner.quit()

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin_here(msg.data)

    def _on_end(self, **_: Any) -> None:
        if not self._tell_part():
            self.environment.runner.send_message(_PART, {"part": None})

    def _tell_part(self) -> bool:
        with self._ending:  # Ctrl-C may come while answers are waited for
            result = self._ended_here()
            if result is None:
                return False
            self.environment.runner.send_message(_PART, {"part": result.as_json()})
            return True

    def _on_part(self, msg: Any, **_: Any) -> None:
        part = msg.data["part"]
        self._parts.add(msg.node_id, of_json(part) if part is not None else None)

    def _quitting(self, environment: Any, **_: Any) -> None:
        """Say what came of it; every connection is closed, so that the exit does not hang."""
        if self._is_worker:
            environment.process_exit_code = 0
            self._tell_part()  # of a stretch that nobody ended: Ctrl-C reaches every process
        else:
            self.end()
            if not self._judged:
                self._judged = True
                faults = [*self.faults, *self._shortage()]
                environment.process_exit_code = self.judge.conclude(self.results, faults)
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _fold_now_and_then(self) -> None:
        import gevent

        while True:
            gevent.sleep(_FOLD_S)
            if self._session is not None:
                self._session.fold()

    def _tell_failure(self, reason: str) -> None:
        self.environment.events.request.fire(
            request_type=self.kind,
            name=self.name,
            response_time=0,
            response_length=0,
            exception=RuntimeError(reason),
            context={},
        )


def user_class(driver: Driver, name: str) -> Any:
    """Return a user of Locust's whose work is a driver's, for a locust file to hold by its name."""
    from locust import User

    def on_start(user: Any) -> None:
        user.asking = driver.user()

    def on_stop(user: Any) -> None:
        asking = getattr(user, "asking", None)
        if asking is not None:
            asking.close()

    def ask(user: Any) -> None:
        driver.work(user.asking)

    body = {"on_start": on_start, "on_stop": on_stop, "tasks": [ask]}
    return type(User)(name, (User,), {**body, "wait_time": lambda _: 0, "__module__": __name__})
