"""What is read of a server while its metrics can be had now and then."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pytest_inferbench.serving.statistics import Observer

METRICS = b'nv_inference_request_failure{model="net",reason="REJECTED",version="1"} 7\n'


@pytest.fixture
def server():
    """A server with seven failures; `metrics` are what it exports, if anything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/metrics":
                content = self.server.metrics
            else:
                counts = {"success": {"count": 5, "ns": 10}, "fail": {"count": 7, "ns": 1}}
                stats = {"name": "net", "inference_stats": counts, "version": "1"}
                content = json.dumps({"model_stats": [stats]}).encode()
            self.send_response(200 if content else 503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.metrics = b""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("order", [(b"", METRICS), (METRICS, b"")])
def test_failures_are_those_of_one_source_whether_the_metrics_can_be_had_or_not(server, order):
    url = f"http://127.0.0.1:{server.server_port}"
    observer = Observer({"http": url, "metrics": f"{url}/metrics"}, "net")
    try:
        server.metrics = order[0]
        before = observer.snapshot()
        server.metrics = order[1]
        found = observer.snapshot().since(before)
    finally:
        observer.close()
    assert (before.failures, found.failures) == (7, 0)
