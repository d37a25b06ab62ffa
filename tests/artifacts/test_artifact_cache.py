"""An entry is whole or it is not there; it is built once, and nothing damaged is ever used."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_inferbench.artifacts import cache as cache_module
from pytest_inferbench.artifacts.cache import ArtifactCache, default_root
from pytest_inferbench.errors import InferbenchError

KEY = "ab" + "0" * 62
UNFINISHED = {"state": "unfinished or damaged"}
CONTENT = {"model.onnx": b"weights" * 999, "sub/more.bin": b"\1\2\3"}


def build(folder: Path) -> dict[str, object]:
    for name, data in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return {"nodes": 3}


def never(folder: Path) -> dict[str, object]:
    raise AssertionError("built again")


def new_process() -> None:
    """Forget what this process has verified, as a new one would."""
    cache_module._verified.clear()


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def names(cache: ArtifactCache) -> set[str]:
    """What lies in the cache, locks apart."""
    return {
        path.relative_to(cache.root).as_posix()
        for path in cache.root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_built_once_and_found_again(cache: ArtifactCache) -> None:
    first = cache.get_or_build(KEY, {"model": "m"}, build)
    assert first.built
    assert first.rebuilt_because == ""
    assert first.meta["facts"] == {"nodes": 3}
    assert first.folder == cache.root / "ab" / KEY
    new_process()
    again = cache.get_or_build(KEY, {"model": "m"}, never)
    assert not again.built
    assert (again.folder, again.files, again.meta) == (first.folder, first.files, first.meta)
    assert {path.relative_to(again.folder).as_posix() for path in again.files} == set(CONTENT)
    assert again.meta["files"]["sub/more.bin"]["size_bytes"] == 3


def test_listing_and_removal(cache: ArtifactCache) -> None:
    other = "cd" + KEY[2:]
    before = time.time()
    cache.get_or_build(KEY, {"model": "m"}, build)
    cache.get_or_build(other, {"model": "n"}, build)
    entries = cache.entries()
    assert [entry.key for entry in entries] == [KEY, other]
    assert entries[1].describe == {"model": "n"}
    assert before <= entries[0].built_at <= entries[1].built_at
    assert entries[0].size_bytes > sum(map(len, CONTENT.values()))
    assert cache.total_bytes() == sum(entry.size_bytes for entry in entries)
    cache.remove([KEY, "ef" + KEY[2:]])
    assert [entry.key for entry in cache.entries()] == [other]
    assert cache.get_or_build(KEY, {}, build).built


def test_an_empty_cache_lists_nothing(cache: ArtifactCache) -> None:
    assert cache.entries() == []
    assert cache.total_bytes() == 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([*CONTENT, "meta.json"]),
    damage=st.sampled_from(["flip", "cut", "gone"]),
    place=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_no_damage_is_ever_used(
    cache: ArtifactCache, name: str, damage: str, place: float, mask: int
) -> None:
    folder = cache.get_or_build(KEY, {}, build).folder
    path = folder / name
    content = bytearray(path.read_bytes())
    stat = path.stat()
    index = int(place * len(content))
    match damage:
        case "flip":
            content[index] ^= mask
            path.write_bytes(content)
        case "cut":
            os.truncate(path, index)
        case "gone":
            path.unlink()
    if path.exists():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new_process()
    assert any(entry.key == KEY for entry in cache.entries())
    mended = cache.get_or_build(KEY, {}, build)
    assert mended.built
    assert path.name in mended.rebuilt_because
    assert {n: (folder / n).read_bytes() for n in CONTENT} == CONTENT
    cache.get_or_build(KEY, {}, never)


def test_a_change_is_seen_within_the_process_too(cache: ArtifactCache) -> None:
    entry = cache.get_or_build(KEY, {}, build)
    cache.get_or_build(KEY, {}, never)
    entry.files[0].write_bytes(b"x" * len(CONTENT["model.onnx"]))
    assert "other contents" in cache.get_or_build(KEY, {}, build).rebuilt_because


def test_an_entry_under_another_key_is_not_taken(cache: ArtifactCache) -> None:
    entry = cache.get_or_build(KEY, {}, build)
    other = "ab" + "1" * 62
    entry.folder.rename(entry.folder.parent / other)
    assert "altered" in cache.get_or_build(other, {}, build).rebuilt_because


def test_a_failed_build_leaves_nothing(cache: ArtifactCache) -> None:
    def failing(folder: Path) -> dict[str, object]:
        build(folder)
        raise InferbenchError("IB-433", "no")

    with pytest.raises(InferbenchError, match="IB-433"):
        cache.get_or_build(KEY, {}, failing)
    assert names(cache) == set()
    assert cache.get_or_build(KEY, {}, build).rebuilt_because == ""


def test_a_builder_that_leaves_nothing_is_told(cache: ArtifactCache) -> None:
    with pytest.raises(InferbenchError) as caught:
        cache.get_or_build(KEY, {"model": "m"}, lambda _: {})
    assert caught.value.code == "IB-422"


def test_disk_full(cache: ArtifactCache) -> None:
    def full(folder: Path) -> dict[str, object]:
        build(folder)
        Path("/dev/full").write_bytes(b"x")
        return {}

    with pytest.raises(InferbenchError, match="model m did not fit") as caught:
        cache.get_or_build(KEY, {"model": "m"}, full)
    assert caught.value.code == "IB-420"
    assert names(cache) == set()


def test_a_root_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InferbenchError, match="INFERBENCH_CACHE") as caught:
        ArtifactCache(tmp_path / "file").get_or_build(KEY, {}, build)
    assert caught.value.code == "IB-421"


def test_other_errors_of_a_builder_are_its_own(cache: ArtifactCache) -> None:
    with pytest.raises(FileNotFoundError):
        cache.get_or_build(KEY, {}, lambda _: {"size": Path("/nowhere").stat()})


@pytest.mark.parametrize("key", ["", "../../etc", "ABCDEF0123", "abcdefg123"])
def test_keys_are_checked(cache: ArtifactCache, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        cache.get_or_build(key, {}, build)


KILLED = """
import os, signal, sys
from pathlib import Path
from pytest_inferbench.artifacts.cache import ArtifactCache
def build(folder):
    (folder / "model.onnx").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
ArtifactCache(Path(sys.argv[1])).get_or_build(sys.argv[2], {}, build)
"""


def test_a_killed_builder_blocks_nobody_and_leaves_nothing(cache: ArtifactCache) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, cache.root, KEY], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert any("model.onnx" in name for name in names(cache))
    [left] = cache.entries()
    assert (left.key, left.size_bytes, left.describe) == (KEY, 4, UNFINISHED)
    assert cache.get_or_build(KEY, {}, build).built
    assert names(cache) == {f"ab/{KEY}/{name}" for name in (*CONTENT, "meta.json")}


def test_what_a_killed_builder_left_can_be_removed(cache: ArtifactCache) -> None:
    subprocess.run([sys.executable, "-c", KILLED, cache.root, KEY], check=False, cwd=ROOT)
    cache.remove([entry.key for entry in cache.entries()])
    assert cache.total_bytes() == 0


ROOT = Path(cache_module.__file__).parents[2]


def slow_build(root: Path) -> tuple[bool, bool]:
    """In a process of its own: build slowly, and tell whether it built and whether it waited."""

    def slow(folder: Path) -> dict[str, object]:
        with (root.parent / "builds").open("a") as file:
            file.write("x")
        time.sleep(1.6)
        return build(folder)

    waits: list[float] = []
    found = ArtifactCache(root).get_or_build(KEY, {}, slow, waits.append)
    return found.built, bool(waits)


def test_many_processes_build_once(cache: ArtifactCache) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        results = pool.starmap(slow_build, [(cache.root,)] * 4, chunksize=1)
    assert (cache.root.parent / "builds").read_text() == "x"
    assert sorted(results) == [(False, True)] * 3 + [(True, False)]


def test_meta_is_plain_json(cache: ArtifactCache) -> None:
    entry = cache.get_or_build(KEY, {"precision": "int8"}, build)
    meta = json.loads((entry.folder / "meta.json").read_text())
    assert meta["describe"] == {"precision": "int8"}
    assert meta["key"] == KEY


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert default_root({"INFERBENCH_CACHE": "~/x"}) == Path("/home/u/x")
    assert default_root({"INFERBENCH_CACHE": "", "XDG_CACHE_HOME": "/c"}) == Path("/c/inferbench")
    home = Path("/home/u/.cache/inferbench")
    assert default_root({"XDG_CACHE_HOME": "relative"}) == home
    assert default_root({}) == home
