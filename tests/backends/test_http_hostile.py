"""The `http` backend against services that answer wrongly, late, in part or not at all."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import numpy as np
import pytest

from pytest_inferbench.backends.http_service import HttpService
from pytest_inferbench.errors import InferbenchError

SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["n"]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [2]}],
}
X = {"x": np.ones(3, np.float32)}
GOOD = b'{"outputs":{"y":[1,2]}}'


def reply(body=GOOD, status="200 OK", length=None, headers=()):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    if not any(header.startswith("Content-Type") for header in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


HEALTHY = reply(json.dumps(SIGNATURE).encode())


class Scripted:
    """A server of raw sockets: GET is answered well, each POST by the next of the deeds.

    A deed is bytes to send, a number of seconds to wait, or None: hang up.
    """

    def __init__(self, tls=None):
        self.posts: list[list[object]] = []
        self.health, self.metadata = HEALTHY, None
        self.connections, self.requests = 0, []
        self.tls = tls
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.socket.getsockname()[1]}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True)
            stack.callback(client.close)
            self.open.append(client)
            reader = stack.enter_context(client.makefile("rb"))
            while head := self._request(reader):
                known = self.metadata if head.startswith(b"GET /metadata") else None
                deeds = [known or self.health] if head.startswith(b"GET") else self.posts.pop(0)
                for deed in deeds:
                    if deed is None:
                        return
                    if isinstance(deed, bytes):
                        client.sendall(deed)
                    else:
                        time.sleep(deed)

    def _request(self, reader):
        head, length = b"", 0
        while line := reader.readline():
            head += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
            if line == b"\r\n":
                self.requests.append((head, reader.read(length)))
                return head
        return b""

    def hang_up(self):
        for each in self.open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.socket.close()
        self.hang_up()


@pytest.fixture
def server():
    made = Scripted()
    yield made
    made.close()


@pytest.fixture
def opened(server):
    backend = HttpService()
    backend.open(f"{server.base}/infer", {"timeout_s": 5, "max_response_mib": 1}, "fp32")
    yield backend
    backend.close()


def chunked(*pieces, end=b"0\r\n\r\n"):
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + end


@pytest.mark.parametrize(
    "deeds",
    [
        [reply()],
        [reply(), None],
        [reply(headers=["Connection: close"]), None],
        [chunked(GOOD[:5], GOOD[5:])],
        [b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOOD, None],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + reply()],
        [reply()[:30], 0.02, reply()[30:-4], 0.02, reply()[-4:]],
        [reply(headers=["Content-Type: application/json; charset=utf-8"])],
        [reply(headers=["Content-Type: application/problem+json"])],
        [
            reply(
                np.array([1, 2], "<f4").tobytes(),
                headers=["Content-Type: application/octet-stream"],
            )
        ],
    ],
)
def test_proper_answers_in_any_form_are_read(server, opened, deeds):
    server.posts += [deeds] * 3
    for _ in range(3):
        np.testing.assert_array_equal(opened.infer(X)["y"], [1, 2])


def bytes_reply(body, *headers):
    return reply(body, headers=["Content-Type: application/octet-stream", *headers])


TENSORS = 'X-Tensors: [{"name": "y", "dtype": "%s", "shape": %s}]'

WRONG = {
    "not json": ([reply(b"<html>Oh no</html>")], "IB-386", "it is not JSON.*\n.*<html>Oh no"),
    "no object": ([reply(b"[1, 2]")], "IB-386", "a JSON list"),
    "deep": ([reply(b"[" * 100_000)], "IB-386", "not JSON"),
    "no outputs": ([reply(b"{}")], "IB-386", "no object 'outputs'"),
    "missing": ([reply(b'{"outputs":{"z":[1,2]}}')], "IB-386", r"lacks \['y'\] and adds \['z'\]"),
    "shape": ([reply(b'{"outputs":{"y":[1,2,3]}}')], "IB-386", r"shape \[3\]; declared: y"),
    "rank": ([reply(b'{"outputs":{"y":[[1,2]]}}')], "IB-386", r"shape \[1, 2\]"),
    "ragged": ([reply(b'{"outputs":{"y":[[1],[2,3]]}}')], "IB-386", "ragged"),
    "null": ([reply(b'{"outputs":{"y":[1,null]}}')], "IB-386", "float32, and holds null"),
    "text": ([reply(b'{"outputs":{"y":["a",1]}}')], "IB-386", "holds str"),
    "bools": ([reply(b'{"outputs":{"y":[true,1]}}')], "IB-386", "holds bool"),
    "range": ([reply(b'{"outputs":{"y":[1e300,1]}}')], "IB-386", "beyond float32"),
    "dtype": (
        [reply(b'{"outputs":{"y":{"dtype":"float64","shape":[2],"data":[1,2]}}}')],
        "IB-386",
        "is 'float64', not float32",
    ),
    "elements": (
        [reply(b'{"outputs":{"y":{"shape":[3],"data":[1,2]}}}')],
        "IB-386",
        r"2 elements, and its shape is \[3\]",
    ),
    "wild shape": (
        [reply(b'{"outputs":{"y":{"shape":[0,1e99],"data":[]}}}')],
        "IB-386",
        "its shape is",
    ),
    "huge shape": (
        [reply(b'{"outputs":{"y":{"shape":[0,%d],"data":[]}}}' % 10**40)],
        "IB-386",
        "cannot have the shape",
    ),
    "not base64": ([reply(b'{"outputs":{"y":{"base64":"!"}}}')], "IB-386", "not base64"),
    "type": ([reply(headers=["Content-Type: text/html"])], "IB-386", "content type is 'text/html'"),
    "raw size": (
        [bytes_reply(b"1234567", TENSORS % ("float32", "[2]"))],
        "IB-386",
        "7 bytes|elements",
    ),
    "raw more": ([bytes_reply(bytes(12), TENSORS % ("float32", "[2]"))], "IB-386", "12 bytes.*8"),
    "raw dtype": ([bytes_reply(bytes(8), TENSORS % ("float16", "[4]"))], "IB-386", "is float16"),
    "raw shape": (
        [bytes_reply(bytes(8), TENSORS % ("float32", "[-1, -2]"))],
        "IB-386",
        "no proper",
    ),
    "raw header": ([bytes_reply(bytes(8), "X-Tensors: {y")], "IB-386", "cannot be read"),
    "raw bare": ([bytes_reply(bytes(5))], "IB-386", "5 bytes"),
    "500": (
        [reply(b"the model\nfell over", "500 Oops")],
        "IB-384",
        "answered 500: 'the model fell",
    ),
    "204": ([reply(b"", "204 No Content")], "IB-384", "answered 204"),
    "redirect": (
        [reply(b"", "307 Moved", headers=["Location: http://127.0.0.1:1/else"])],
        "IB-384",
        "answered 307.*\n.*'http://127.0.0.1:1/else', which is not followed",
    ),
    "short": (
        [reply(GOOD[:9], length=99), None],
        "IB-385",
        "answered 200.*ended after 9 of 99|ended after 9 of 99.*answered 200",
    ),
    "short chunks": ([chunked(GOOD[:9], end=b""), None], "IB-385", "IncompleteRead.*answered 200"),
    "bad chunks": ([chunked(end=b"zz\r\n")], "IB-385", "IncompleteRead|ValueError"),
    "huge claim": ([reply(length=10**15)], "IB-385", "announces 1000000000000000 bytes"),
    "endless": ([chunked(*[b" " * 2**16] * 20)], "IB-385", "goes on past 1048576 bytes"),
    "length": ([reply(length="many")], "IB-385", "Content-Length is 'many'"),
    "gzip": ([reply(headers=["Content-Encoding: gzip"])], "IB-385", "'gzip'"),
    "not http": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "IB-385", "BadStatusLine.*SSH-2.0"),
    "long line": ([b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000], "IB-385", "LineTooLong"),
    "headers": ([b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 200], "IB-385", "100 headers"),
    "silent end": ([None], "IB-381", "RemoteDisconnected"),
    "mid head": ([b"HTTP/1.1 200 OK\r\nContent-", None], "IB-38[156]", ""),
}


@pytest.mark.parametrize(("deeds", "code", "says"), WRONG.values(), ids=WRONG)
def test_wrong_answers_are_named_with_their_url(server, opened, deeds, code, says):
    server.posts += [deeds, deeds]  # twice, for the one case in which it is asked again
    with pytest.raises(InferbenchError) as caught:
        opened.infer(X)
    text = str(caught.value)
    assert re.fullmatch(code, caught.value.code), text
    assert re.search(says, text, re.DOTALL), text
    assert f"POST {server.base}/infer" in text
    assert len(text) < 900
    server.posts[:] = [[reply()]]
    np.testing.assert_array_equal(opened.infer(X)["y"], [1, 2])


@pytest.mark.parametrize(
    "deeds",
    [
        [30],
        [reply()[:40], 30],
        [reply()[:-5], 30],
        [byte for each in reply() for byte in (bytes([each]), 0.1)],
    ],
    ids=["silent", "in the head", "in the body", "drop by drop"],
)
def test_one_deadline_stands_over_the_whole_answer(server, deeds):
    backend = HttpService()
    backend.open(f"{server.base}/infer", {"timeout_s": 0.4}, "fp32")
    server.posts.append(deeds)
    started = time.monotonic()
    with pytest.raises(InferbenchError, match=r"not answered in full within 0\.4 s") as caught:
        backend.infer(X)
    assert caught.value.code == "IB-382"
    assert time.monotonic() - started < 10
    assert len(server.requests) == 2, "its health, and one request that is not repeated"


def test_a_dropped_idle_connection_is_made_anew_once(server, opened):
    server.posts += [[reply(), None], [reply()]]
    opened.infer(X)
    server.hang_up()
    opened.infer(X)
    assert server.connections == 2
    server.posts += [[None], [reply()]]  # it ended in the moment of being asked
    opened.infer(X)
    assert server.connections == 3
    server.posts += [[None], [None], [reply()]]  # and this is not a matter of idleness
    with pytest.raises(InferbenchError) as caught:
        opened.infer(X)
    assert caught.value.code == "IB-381"
    assert len(server.posts) == 1


def test_nothing_is_asked_again_once_an_answer_began(server, opened):
    server.posts += [[reply()[:20], None], [reply()]]
    with pytest.raises(InferbenchError):
        opened.infer(X)
    assert len(server.posts) == 1


def test_stray_bytes_never_reach_the_next_answer(server, opened):
    other = reply(b'{"outputs":{"y":[7,7]}}')
    for stray in ([reply() + other], [reply(), 0.05, other]):
        server.posts += [stray, [reply()]]
        opened.infer(X)
        time.sleep(0.2)
        np.testing.assert_array_equal(opened.infer(X)["y"], [1, 2])


def test_a_refusal_sent_before_the_body_was_read_is_told(server):
    backend = HttpService()
    backend.open(f"{server.base}/infer", {"encoding": "raw"}, "fp32")
    early = reply(b"too large", "413 Too Large", headers=["Connection: close"])

    def refuse(client):
        client.recv(10)
        client.sendall(early)
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        client.close()

    server._serve = refuse
    backend._connections._idle.clear()
    with pytest.raises(InferbenchError, match="answered 413: 'too large'") as caught:
        backend.infer({"x": np.ones(5_000_000, np.float32)})
    assert caught.value.code == "IB-384"


@pytest.mark.parametrize(
    ("health", "code", "says"),
    [
        (reply(b"loading the model", "503 Wait"), "IB-383", "answered 503: 'loading the model'"),
        (reply(b"", "302 Found", headers=["Location: /login"]), "IB-383", "answered 302"),
        (reply(b"ok"), "IB-387", "does not tell its inputs"),
        (reply(b'{"inputs": [], "outputs": []}'), "IB-387", "there are none"),
        (reply(b'{"inputs": 5, "outputs": []}'), "IB-387", "cannot be read"),
        (reply(b'{"inputs": [{"name": "x", "dtype": "f99"}], "outputs": []}'), "IB-387", "f99"),
        (reply(json.dumps({**SIGNATURE, "precision": "fp16"}).encode()), "IB-388", "runs 'fp16'"),
        (b"\x00\x01\x02\r\n\r\n", "IB-385", "BadStatusLine"),
    ],
)
def test_a_service_that_is_not_well_is_not_opened(server, health, code, says):
    server.health = health
    with pytest.raises(InferbenchError, match=says) as caught:
        HttpService().open(f"{server.base}/infer", {"timeout_s": 5}, "fp32")
    assert caught.value.code == code
    assert server.base in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("said", [b"ok", b"", b'"ok"', b'{"status": "ok"}', b"\xff"])
def test_metadata_is_asked_for_where_health_tells_nothing(server, said):
    server.health, server.metadata = reply(said), HEALTHY
    backend = HttpService()
    backend.open(f"{server.base}/infer", {}, "fp32")
    assert [spec.as_fields() for spec in backend.inputs] == SIGNATURE["inputs"]
    server.metadata = reply(b"no such thing", "404 Not Found")
    with pytest.raises(InferbenchError, match="does not tell its inputs"):
        HttpService().open(f"{server.base}/infer", {}, "fp32")
    HttpService().open(f"{server.base}/infer", {"signature": SIGNATURE}, "fp32")
    server.metadata = reply(b"who are you", "401 Unauthorized")
    with pytest.raises(InferbenchError, match=r"/metadata answered 401: 'who are you'"):
        HttpService().open(f"{server.base}/infer", {"signature": SIGNATURE}, "fp32")
    server.health = reply(b"ok")
    openai = {"model": "m", "style": "openai"}
    HttpService().open(f"{server.base}/infer", openai, "fp32")
    assert server.requests[-1][0].startswith(b"GET /health ")


def test_nobody_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(InferbenchError, match="ConnectionRefusedError") as caught:
        HttpService().open(f"http://127.0.0.1:{port}/infer", {}, "fp32")
    assert caught.value.code == "IB-381"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_a_host_that_is_not_known_is_named(host):
    with pytest.raises(InferbenchError, match=re.escape(host)) as caught:
        HttpService().open(f"http://{host}/infer", {"timeout_s": 20}, "fp32")
    assert caught.value.code == "IB-381"


def test_headers_are_sent_and_secrets_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("EMBED_TOKEN", "s3cret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    headers = {"Authorization": "Bearer ${EMBED_TOKEN}", "X-Plain": "1"}
    backend = HttpService()
    backend.open(f"{server.base}/infer?version=2", {"headers": headers}, "fp32")
    server.posts.append([reply(headers=["Server-Timing: infer;dur=9000"])])
    backend.infer(X)
    assert all(b"Authorization: Bearer s3cret\r\n" in head for head, _ in server.requests)
    assert server.requests[-1][0].startswith(b"POST /infer?version=2 HTTP/1.1\r\n")
    facts = backend.describe()
    assert "s3cret" not in str(facts)
    assert facts["implausible_server_times"] == 1
    assert "network_ms" not in facts


def test_small_packets_leave_at_once(opened):
    sock = opened._connections._idle[0]._http.sock
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_certificate_is_checked_unless_told_otherwise(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", certificate, "-subj", "/CN=local", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Scripted(tls=context)
    try:
        with pytest.raises(InferbenchError, match="certificate is not trusted") as caught:
            HttpService().open(f"{server.base}/infer", {}, "fp32")
        assert caught.value.code == "IB-381"
        for verify in (str(certificate), False):
            backend = HttpService()
            backend.open(f"{server.base}/infer", {"verify": verify}, "fp32")
            server.posts += [[reply()]] * 3 + [[reply(), None], [reply()]]
            before = server.connections
            for _ in range(5):
                np.testing.assert_array_equal(backend.infer(X)["y"], [1, 2])
            assert server.connections <= before + 1
            assert ("certificate" in backend.describe()) is (verify is False)
            backend.close()
    finally:
        server.close()
