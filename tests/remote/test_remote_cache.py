"""What is sent to another host arrives whole, once, under its own names, or not at all."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pytest_inferbench.artifacts.cache import ArtifactCache
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.remote import CHUNK_BYTES, RemoteCache
from pytest_inferbench.worker.client import WorkerError, launch

NAMES = ("model.onnx", "weights/part one.bin", "empty.bin")
WHAT = {"model": "net", "sent": "model.onnx"}


@pytest.fixture
def files(tmp_path):
    """A folder with files of more than a chunk, of less, and of nothing."""
    folder = tmp_path / "here"
    (folder / "weights").mkdir(parents=True)
    rng = np.random.default_rng(0)
    (folder / NAMES[0]).write_bytes(rng.bytes(2 * CHUNK_BYTES + 12345))
    (folder / NAMES[1]).write_bytes(rng.bytes(CHUNK_BYTES))
    (folder / NAMES[2]).touch()
    return folder


@pytest.fixture
def there(host, tmp_path, mark):
    """Open the cache of the other host, which is a folder of this test's own."""
    workers = []

    def open_it(wait_s=60.0, modules=()):
        environment = host.environment(INFERBENCH_CACHE=str(tmp_path / "there"))
        workers.append(launch(environment, modules=modules))
        return RemoteCache(workers[-1], "orin", wait_s), workers[-1]

    yield open_it
    for worker in workers:
        worker.close()


@pytest.fixture
def kept(tmp_path):
    """What lies in that host's cache, locks apart."""

    def kept():
        root = tmp_path / "there"
        found = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path.relative_to(root).as_posix() for path in found}

    return kept


def total(folder):
    return sum((folder / name).stat().st_size for name in NAMES)


def test_files_are_sent_once_and_keep_their_names(there, files, tmp_path):
    cache, _ = there()
    entry = cache.send(files, NAMES, WHAT)
    assert entry.built
    assert cache.sent_bytes == total(files)
    assert str(entry.folder).startswith(str(tmp_path / "there"))
    for name in NAMES:
        assert (tmp_path / entry.folder / name).read_bytes() == (files / name).read_bytes()
    another_session, _ = there()
    again = another_session.send(files, NAMES, WHAT)
    assert another_session.sent_bytes == 0
    assert (again.folder, again.built) == (entry.folder, False)


def test_its_place_is_the_user_s_cache_folder_there(host, files, tmp_path, mark):
    with launch(host.environment(HOME=str(tmp_path))) as worker:
        entry = RemoteCache(worker, "orin", 60.0).send(files, NAMES[1:], WHAT)
    assert str(entry.folder).startswith(str(tmp_path / ".cache/inferbench/"))


def test_other_contents_or_other_names_are_another_entry(there, files):
    cache, _ = there()
    first = cache.send(files, NAMES, WHAT)
    (files / NAMES[1]).rename(files / "weights" / "renamed.bin")
    renamed = cache.send(files, (NAMES[0], "weights/renamed.bin"), WHAT)
    (files / NAMES[0]).write_bytes(b"other")
    other = cache.send(files, NAMES[:1], WHAT)
    assert len({first.folder, renamed.folder, other.folder}) == 3


def test_what_was_damaged_there_is_sent_again(there, files, tmp_path):
    cache, _ = there()
    entry = cache.send(files, NAMES, WHAT)
    (tmp_path / entry.folder / NAMES[1]).write_bytes(b"x" * CHUNK_BYTES)
    again = cache.send(files, NAMES, WHAT)
    assert again.built
    assert cache.sent_bytes == 2 * total(files)
    assert (tmp_path / again.folder / NAMES[1]).read_bytes() == (files / NAMES[1]).read_bytes()


@pytest.mark.parametrize("who", ["worker", "connection"])
def test_an_interrupted_transfer_leaves_nothing_half(there, host, files, kept, who):
    cache, worker = there()
    before = worker.call

    def call(verb, fields=None, arrays=None, **options):
        if verb == "cache_write" and fields["name"] == NAMES[1]:
            if who == "worker":
                os.kill(worker.pid, signal.SIGKILL)
            else:
                for process in host.connections():
                    process.kill()
        return before(verb, fields, arrays, **options)

    worker.call = call
    with pytest.raises(WorkerError) as caught:
        cache.send(files, NAMES, WHAT)
    assert caught.value.code == "IB-301"
    assert not any(name.endswith("meta.json") for name in kept())
    another, _ = there()
    entry = another.send(files, NAMES, WHAT)
    assert another.sent_bytes == total(files)
    key = entry.folder.name
    assert kept() == {f"{key[:2]}/{key}/{name}" for name in (*NAMES, "meta.json")}


def test_what_an_interrupted_transfer_left_is_swept_by_the_next_one(there, files, kept):
    _, worker = there()
    worker.call("cache_begin", {"key": "ab" * 32, "describe": WHAT})
    worker.call("cache_write", {"name": "x", "offset": 0}, {"data": np.ones(9, np.uint8)})
    os.kill(worker.pid, signal.SIGKILL)
    assert any(name.endswith("/x") for name in kept())
    another, _ = there()
    deadline = time.monotonic() + 10
    while any(name.endswith("/x") for name in kept()) and time.monotonic() < deadline:
        another.send(files, NAMES[2:], WHAT)
    assert not any(name.endswith("/x") for name in kept())


def test_a_file_that_changes_meanwhile_is_not_kept(there, files, kept):
    cache, worker = there()
    before = worker.call

    def call(verb, fields=None, arrays=None, **options):
        if verb == "cache_begin":
            (files / NAMES[1]).write_bytes(b"y" * CHUNK_BYTES)
        return before(verb, fields, arrays, **options)

    worker.call = call
    with pytest.raises(InferbenchError, match="arrived with other contents") as caught:
        cache.send(files, NAMES, WHAT)
    assert NAMES[1] in caught.value.message
    assert caught.value.code == "IB-391"
    assert kept() == set()


def test_two_at_once_send_it_once_and_both_have_it(there, files):
    caches = [there()[0] for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        entries = list(pool.map(lambda cache: cache.send(files, NAMES, WHAT), caches))
    assert entries[0].folder == entries[1].folder
    assert sorted(cache.sent_bytes for cache in caches) == [0, total(files)]
    assert sorted(entry.built for entry in entries) == [False, True]


def test_whoever_waits_too_long_for_another_says_so(there, files):
    first, worker = there()
    begun = threading.Event()
    before = worker.call

    def call(verb, fields=None, arrays=None, **options):
        if verb == "cache_write":
            begun.set()
            time.sleep(1.5)
        return before(verb, fields, arrays, **options)

    worker.call = call
    second, _ = there(wait_s=0.5)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(first.send, files, NAMES[:1], WHAT)
        assert begun.wait(20)
        with pytest.raises(InferbenchError, match="environment orin: another process") as caught:
            second.send(files, NAMES[:1], WHAT)
        assert sending.result(60).built
    assert caught.value.code == "IB-393"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "../out", "offset": 0}, "no name of a file"),
        ({"name": "/out", "offset": 0}, "no name of a file"),
        ({"name": "meta.json", "offset": 0}, "no name of a file"),
        ({"name": "x", "offset": 7}, "out of turn"),
    ],
)
def test_what_does_not_belong_is_refused(there, fields, says):
    _, worker = there()
    worker.call("cache_begin", {"key": "ab" * 32, "describe": WHAT})
    with pytest.raises(WorkerError, match=says) as caught:
        worker.call("cache_write", fields, {"data": np.ones(9, np.uint8)})
    assert caught.value.code == "IB-392"


def test_nothing_is_received_that_was_not_begun(there):
    _, worker = there()
    for verb, fields in (("write", {"name": "x", "offset": 0}), ("finish", {"files": {}})):
        with pytest.raises(WorkerError, match="no entry was begun") as caught:
            worker.call(f"cache_{verb}", fields, {"data": np.ones(9, np.uint8)})
        assert caught.value.code == "IB-392"


def test_a_cache_there_that_cannot_be_written_to_is_named(host, files, tmp_path, mark):
    (tmp_path / "file").touch()
    environment = host.environment(INFERBENCH_CACHE=str(tmp_path / "file"))
    with launch(environment) as worker, pytest.raises(WorkerError) as caught:
        RemoteCache(worker, "orin", 5.0).send(files, NAMES, WHAT)
    assert caught.value.code == "IB-421"
    assert "environment orin" in caught.value.message


def test_an_artifact_is_built_there_once_from_what_was_sent(there, tmp_path, save_net):
    external = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
    save_net(tmp_path / "net.onnx", **external)
    module = "pytest_inferbench.artifacts.recipes_ort"
    key, describe = "cd" * 32, {"model": "net", "precision": "fp16"}
    cache, _ = there(modules=[module])
    assert cache.find(key) is None
    sent = cache.send(tmp_path, ("net.onnx", "net.bin"), WHAT)
    build = {
        "family": "ort",
        "recipe": {"precision": "fp16"},
        "model": str(sent.folder / "net.onnx"),
    }
    entry = cache.build(key, describe, "model.onnx", build, {})
    assert entry.built
    assert entry.facts["fp16_tensors"] > 0
    another = cache.build(key, describe, "model.onnx", build, {}, anew=True)
    assert another.built
    assert another.folder != entry.folder
    assert cache.build(key, describe, "model.onnx", build, {}, anew=True).built
    found, _ = there()
    again = found.find(key)
    assert (again.folder, again.built, again.sha256) == (entry.folder, False, entry.sha256)
    there_on_disk = ArtifactCache(tmp_path / "there")
    assert {each.key: each.describe for each in there_on_disk.entries()} == {
        key: describe,
        another.folder.name: describe,
        sent.folder.name: WHAT,
    }
