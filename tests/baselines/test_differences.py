"""What is not as it was: by kind, in a fixed order, nothing lost and nothing made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.baselines.differences import (
    KINDS,
    differences,
    in_brief,
    kind_of,
    lines_of,
)
from pytest_inferbench.hardware.cpu import cpu_facts
from pytest_inferbench.hardware.jetson import jetson_facts

NAMES = [
    *("kernel", "cpu_governor", "nvidia_driver", "power_mode"),
    *("onnxruntime", "numpy", "inferbench", "option threads", "option device"),
]
environments = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2", "unknown"]))
hashes = st.sampled_from(["a" * 64, "b" * 64])


@given(before=environments, now=environments, artifacts=st.tuples(hashes, hashes))
def test_what_is_told_is_exactly_what_differs(before, now, artifacts):
    found = differences(before, now, artifacts)
    told = {(each.name, each.before, each.now) for each in found}
    expected = {
        (name.removeprefix("option "), before.get(name), now.get(name))
        for name in before.keys() | now.keys()
        if before.get(name) != now.get(name)
        and not (kind_of(name) == "machine" and (name not in before or name not in now))
    }
    if artifacts[0] != artifacts[1]:
        expected.add(("artifact", artifacts[0][:12], artifacts[1][:12]))
    assert told == expected
    order = [(KINDS.index(each.kind), each.name) for each in found]
    assert order == sorted(order)
    shuffled = dict(reversed(now.items()))
    assert differences(before, shuffled, artifacts) == found
    assert bool(in_brief(found)) == bool(found) == bool(lines_of(found))


@given(environment=environments, artifact=hashes)
def test_nothing_differs_from_itself(environment, artifact):
    assert differences(environment, dict(environment), (artifact, artifact)) == ()


@given(before=environments, now=environments)
def test_both_ways_round_the_same_names_differ(before, now):
    there = {each.name for each in differences(before, now)}
    assert {each.name for each in differences(now, before)} == there


def test_every_fact_about_a_machine_is_known_as_one(tmp_path):
    policy = tmp_path / "sys/devices/system/cpu/cpufreq/policy0"
    policy.mkdir(parents=True)
    for name in ("scaling_governor", "scaling_max_freq", "energy_performance_preference"):
        (policy / name).write_text("3000000\n")
    (policy.parent / "boost").write_text("1\n")
    facts = {**cpu_facts(tmp_path), **jetson_facts(tmp_path)}
    facts |= dict.fromkeys(["kernel", "memory_mib", "board", "nvidia_driver", "cuda_driver"], "")
    kinds = {name: kind_of(name) for name in facts}
    expected = dict.fromkeys(facts, "machine")
    expected["jetson_linux"] = "machine"
    assert kinds == expected
    assert {"cpu_governor", "cpu_max_mhz", "cpu_turbo", "cpu_preference"} <= facts.keys()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("onnxruntime", "packages"),
        ("python", "packages"),
        ("option intra_op_num_threads", "options"),
        ("artifact", "artifact"),
        ("nvidia_driver", "machine"),
    ],
)
def test_kinds(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("names", "brief"),
    [
        ([], ""),
        (["kernel"], "the machine differs"),
        (["numpy"], "packages differ"),
        (["numpy", "kernel"], "the machine and packages differ"),
        (["numpy", "kernel", "option x"], "the machine, packages and options differ"),
    ],
)
def test_the_kinds_in_brief(names, brief):
    found = differences(dict.fromkeys(names, "1"), dict.fromkeys(names, "2"))
    assert in_brief(found) == brief


def test_an_artifact_is_told_by_the_beginnings_of_its_hashes():
    found = differences({}, {}, ("a" * 64, "b" * 64))
    assert lines_of(found) == ["artifact differs: aaaaaaaaaaaa -> bbbbbbbbbbbb"]
