"""A small server of KServe's protocol with faults of its own, to see that the questions find them.

    python lenient_server.py FAULT

It doubles its input `x`. It prints its port, and ends with its standard input. Faults: "none";
"yes" answers every request with 200; "crash" ends at the first request that is no JSON; "swapped"
gives every fifth answer to another's question; "one" reads one request at a time.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

FAULT = sys.argv[1]
ABOUT = {
    "/v2/health/ready": {},
    "/v2": {"name": "lenient", "version": "0.0.1"},
    "/v2/models/model": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4]}],
    },
}
READING = threading.Lock()
LAST = {"answers": 0, "x": np.zeros((1, 4), np.float32)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_one_request(self):
        if FAULT != "one":
            super().handle_one_request()
        elif self.connection.recv(1, socket.MSG_PEEK):
            with READING:
                super().handle_one_request()
        else:
            self.close_connection = True

    def do_GET(self):
        known = self.path in ABOUT
        self.answer(200 if known else 404, json.dumps(ABOUT.get(self.path, {})).encode())

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self.answer(411, b"")
            return
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            self.close_connection = True
            return
        try:
            self.answer(*self.infer(content))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
            if FAULT == "crash":
                os._exit(3)
            self.answer(*((200, b"{}") if FAULT == "yes" else (400, b'{"error": "no"}')))

    def infer(self, content):
        if self.path != "/v2/models/model/infer":
            return (200 if FAULT == "yes" else 404), b""
        length = int(self.headers["Inference-Header-Content-Length"])
        if not 0 <= length <= len(content):
            raise ValueError(length)
        fields = json.loads(content[:length])
        (given,) = fields["inputs"]
        (wanted,) = fields["outputs"]
        if (given["name"], given["datatype"], wanted["name"]) != ("x", "FP32", "y"):
            raise ValueError(given)
        if given["shape"] != [1, 4] or given["parameters"] != {"binary_data_size": 16}:
            raise ValueError(given)
        if "shared_memory_region" in wanted["parameters"]:
            raise ValueError(wanted)
        x = np.frombuffer(content[length:], np.float32).reshape(1, 4)
        LAST["answers"] += 1
        if FAULT == "swapped" and LAST["answers"] % 5 == 0:
            x, LAST["x"] = LAST["x"], x
        LAST["x"] = x
        about = {
            "name": "y",
            "datatype": "FP32",
            "shape": [1, 4],
            "parameters": {"binary_data_size": 16},
        }
        head = json.dumps({"outputs": [about]}).encode()
        return 200, head + (2 * x).tobytes(), {"Inference-Header-Content-Length": str(len(head))}

    def answer(self, status, content, more=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048

    def handle_error(self, *_):
        pass


server = Threads(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
sys.stdin.read()
