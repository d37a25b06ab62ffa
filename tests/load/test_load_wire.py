"""Connections to real servers: whole answers, refusals, windows, ends, and what is no answer."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import numpy as np
import pytest

from pytest_inferbench.load.grpc_wire import Call, GrpcConnection
from pytest_inferbench.load.http_wire import HttpConnection
from pytest_inferbench.load.kserve_http import request
from pytest_inferbench.load.plan import LoadPlan
from pytest_inferbench.load.target import target_of
from pytest_inferbench.load.wire import RequestError, address_of


@pytest.fixture
def echo():
    """Return the address of a gRPC server that gives back what it gets; `/No` refuses."""
    grpc = pytest.importorskip("grpc")
    futures = pytest.importorskip("concurrent.futures")

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(message, context):
                if details.method == "/echo/No":
                    context.abort(grpc.StatusCode.NOT_FOUND, "there is none: é %")
                return message

            return grpc.unary_unary_rpc_method_handler(answer)

    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=unlimited)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield address_of(f"grpc://127.0.0.1:{port}")
    server.stop(None).wait()


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 70_000, 9_000_000])
def test_a_message_of_any_size_comes_back(echo, size):
    message = np.random.default_rng(size).bytes(size)
    connection = GrpcConnection(echo, 20)
    call = Call(echo, "/echo/It", message)
    for _ in range(3):
        assert connection.call(call) == message
    connection.close()


def test_more_than_all_windows_goes_through_one_connection(echo):
    connection = GrpcConnection(echo, 20)
    call = Call(echo, "/echo/It", bytes(3_000_000))
    for _ in range(30):
        assert len(connection.call(call)) == 3_000_000
    connection.close()


def test_a_refusal_is_told_and_the_connection_stays(echo):
    connection = GrpcConnection(echo, 20)
    for _ in range(3):
        with pytest.raises(RequestError, match=r"gRPC NOT_FOUND: there is none: é %") as raised:
            connection.call(Call(echo, "/echo/No", b"x"))
        assert not raised.value.lost
        assert connection.call(Call(echo, "/echo/It", b"x")) == b"x"
    connection.close()


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers in every way that HTTP allows."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"a" * 5, b"b" * 70_000, b""):
                self.wfile.write(b"%x;x=y\r\n%s\r\n" % (len(part), part))
            return
        if self.path == "/old":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nto the end")
            self.close_connection = True
            return
        if self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            self.close_connection = True
            return
        if self.path == "/nonsense":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            return
        if self.path == "/slow":
            time.sleep(1.5)
        body = b"x" * 300_000 if self.path == "/large" else b"small"
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("content-length", str(len(body)))
        if self.path == "/last":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/idle":
            self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def odd():
    """Return the address of a server that answers in odd ways."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield address_of(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


def get(address, connection, path):
    return connection.exchange(request("GET", address.authority, path, {}, b""))


def test_bodies_of_every_form_are_whole(odd):
    connection = HttpConnection(odd, 5)
    for _ in range(2):
        assert get(odd, connection, "/chunks").body == b"a" * 5 + b"b" * 70_000
        assert get(odd, connection, "/large").body == b"x" * 300_000
        assert get(odd, connection, "/none").status == 404
        assert get(odd, connection, "/old").body == b"to the end"
        assert get(odd, connection, "/last").body == b"small"
    connection.close()


def test_a_connection_that_was_ended_while_idle_is_no_failure(odd):
    connection = HttpConnection(odd, 5)
    get(odd, connection, "/idle")
    time.sleep(1.1)
    assert get(odd, connection, "/").body == b"small"
    connection.close()


@pytest.mark.parametrize(
    ("path", "why"),
    [("/cut", "connection lost"), ("/nonsense", "no HTTP"), ("/slow", "timeout")],
)
def test_what_is_no_answer_fails_and_the_next_is_asked_anew(odd, path, why):
    connection = HttpConnection(odd, 1)
    with pytest.raises(RequestError, match=why) as raised:
        get(odd, connection, path)
    assert raised.value.lost
    assert get(odd, connection, "/").body == b"small"
    connection.close()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_said(scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = address_of(f"{scheme}://127.0.0.1:{port}")

    def ask():
        if scheme == "http":
            return HttpConnection(address, 1).exchange(b"GET / HTTP/1.1\r\n\r\n")
        return GrpcConnection(address, 1).call(Call(address, "/a/b", b""))

    with pytest.raises(RequestError, match="no connection: Connection refused"):
        ask()


def test_a_server_of_http_is_no_server_of_grpc(odd):
    address = address_of(f"grpc://{odd.authority}")
    with pytest.raises(RequestError, match=r"no gRPC|connection lost|timeout"):
        GrpcConnection(address, 1).call(Call(address, "/a/b", b""))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_clients_of_triton_get_their_own_answers(url, shared):
    plan = LoadPlan(url, "rows", clients=4, shared_memory=shared, batch=3, verify=True)
    target = target_of(plan, 4)
    try:
        clients = [target.client(number) for number in range(4)]
        for number in range(4):
            for client in clients:
                client.check(number, client.exchange(number))
        # The answer to one sample is not that to another.
        reply = clients[0].exchange(0)
        with pytest.raises(RequestError, match="belongs to another request"):
            clients[0].check(1, reply)
        for client in clients:
            client.close()
    finally:
        target.close()


@pytest.mark.slow
def test_what_triton_refuses_is_told_in_its_own_words(url):
    from pytest_inferbench.errors import InferbenchError

    for fields, why in (
        ({"model": "nobody"}, "nobody"),
        ({"batch": 200_000}, "batch"),  # larger than any window, and refused
    ):
        with pytest.raises(InferbenchError, match=why) as raised:
            target_of(LoadPlan(**{"url": url, "model": "rows", **fields}), 1)
        assert raised.value.code == "IB-834"
