"""Load of a part of what was planned is no result; a Locust of our own making tells it here."""

from __future__ import annotations

import sys
import textwrap
from importlib.util import find_spec

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.load.histogram import of_latencies
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.result import LoadResult, to_text
from pytest_inferbench.load.running import run_load

pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="load is made with Locust")

GOOD = LoadResult("http", 2, 1.0, 3, histogram=of_latencies([10**6] * 3))
FAILED = LoadResult("http", 2, 1.0, 3, {"timeout": 1}, GOOD.histogram)


@pytest.fixture
def told(tmp_path):
    """Return how to run a Python that ends with a status, and writes what it is told to."""

    def run(text, status):
        (tmp_path / "text").write_text(text)
        python = tmp_path / "python"
        program = f"""\
            #!{sys.executable}
            import shutil, sys
            shutil.copy({str(tmp_path / "text")!r}, sys.argv[sys.argv.index("--load-json") + 1])
            sys.exit({status})
        """
        python.write_text(textwrap.dedent(program))
        python.chmod(0o755)
        return run_load(LoadPlan("http://nobody", "m", clients=2), python)

    return run


def test_failed_requests_are_in_the_result(told):
    assert told(to_text([GOOD]), 0) == GOOD
    assert told(to_text([FAILED], missed=["1 of 4 requests failed"]), 1) == FAILED


@pytest.mark.parametrize("result", [GOOD, FAILED])
def test_a_process_that_did_not_tell_leaves_no_result(told, result):
    with pytest.raises(InferbenchError, match="1 of 2 processes did not tell") as raised:
        told(to_text([result], ["1 of 2 processes did not tell"]), 1)
    assert raised.value.code == "IB-839"


def test_neither_does_a_crash_after_the_results(told):
    with pytest.raises(InferbenchError, match="status 139") as raised:
        told(to_text([GOOD]), 139)
    assert raised.value.code == "IB-839"
