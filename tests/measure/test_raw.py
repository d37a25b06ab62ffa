"""Raw samples: what is written comes back, and nothing is ever overwritten or half there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.measure.raw import load, save

PLAIN = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key not in ("schema", "recorded")),
    st.one_of(st.integers(), st.text(max_size=5), st.floats(allow_nan=False), st.none()),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(npst.arrays(np.int64, st.integers(0, 60)), PLAIN)
def test_a_run_comes_back_as_it_was(tmp_path, ns, facts):
    run = load(tmp_path / save(tmp_path, "net-ort-cpu-fp32-cpu-x", ns, facts))
    np.testing.assert_array_equal(run.ns, ns)
    assert {key: run.facts[key] for key in facts} == facts
    assert run.facts["recorded"].endswith("Z")


def test_no_run_takes_anothers_place_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "made" / "here"
    names = {save(folder, "a-cell", np.arange(i), {"run": i}) for i in range(5)}
    assert len(names) == 5
    assert {path.name for path in folder.iterdir()} == names
    assert all(name.startswith("a-cell.") for name in names)
    assert sorted(load(folder / name).facts["run"] for name in names) == list(range(5))


def test_ten_thousand_timings_take_little_room(tmp_path):
    ns = np.random.default_rng(0).normal(1e6, 1e4, 10_000).astype(np.int64)
    name = save(tmp_path, "a", ns, {})
    assert (tmp_path / name).stat().st_size < ns.nbytes / 2


def test_a_folder_that_cannot_be_written_to_is_a_named_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InferbenchError) as caught:
        save(tmp_path / "file", "a", np.arange(3), {})
    assert caught.value.code == "IB-671"


def test_what_holds_no_samples_is_a_named_error(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "other.npz", ns=np.arange(3))
    np.savez(tmp_path / "schema.npz", ns=np.arange(3), facts=np.array('{"schema": 9}'))
    np.savez(tmp_path / "array.npz", ns=np.zeros((2, 2)), facts=np.array('{"schema": 1}'))
    for path in (*tmp_path.iterdir(), tmp_path / "absent.npz"):
        with pytest.raises(InferbenchError) as caught:
            load(path)
        assert caught.value.code == "IB-672"
        assert path.name in str(caught.value)


def test_a_cut_file_is_a_named_error(tmp_path):
    name = save(tmp_path, "a", np.random.default_rng(0).integers(0, 2**60, 4000), {"b": 1})
    whole = (tmp_path / name).read_bytes()
    for size in (1, 30, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(InferbenchError) as caught:
            load(tmp_path / "cut.npz")
        assert caught.value.code == "IB-672"


def test_pickled_objects_are_refused_unread(tmp_path):
    np.savez(tmp_path / "p.npz", ns=np.array([{}], object), facts=np.array("{}"))
    with pytest.raises(InferbenchError) as caught:
        load(tmp_path / "p.npz")
    assert caught.value.code == "IB-672"
