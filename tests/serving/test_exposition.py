"""What a Triton tells of itself is read as it stands; what it does not tell is left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.serving.exposition import Told, snapshot_of, told_of

STATISTICS = """
{"name": "net", "version": "1", "last_inference": 1700000000000,
 "inference_count": 40, "execution_count": 12,
 "inference_stats": {
  "success": {"count": 30, "ns": 300000000}, "fail": {"count": 2, "ns": 1000},
  "queue": {"count": 30, "ns": 120000000}, "compute_input": {"count": 30, "ns": 3000000},
  "compute_infer": {"count": 30, "ns": 150000000}, "compute_output": {"count": 30, "ns": 6000000},
  "cache_hit": {"count": 4, "ns": 99}, "cache_miss": {"count": 1, "ns": 99}},
 "response_stats": {}, "memory_usage": [],
 "batch_stats": [
  {"batch_size": 1, "compute_input": {"count": 5, "ns": 1}, "compute_infer": {"count": 5, "ns": 1}},
  {"batch_size": 5, "compute_input": {"count": 7, "ns": 1}, "compute_infer": {"count": 7, "ns": 1}}
 ]}
"""
METRICS = """
# HELP nv_inference_request_success Number of successful inference requests
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="net",version="1"} 30
nv_inference_request_failure{model="net",reason="OTHER",version="1"} 0
nv_inference_request_failure{model="net",reason="REJECTED",version="1"} 7
nv_inference_request_failure{model="other",reason="REJECTED",version="1"} 99
nv_inference_pending_request_count{model="net",version="1"} 3
nv_inference_queue_summary_us_count{model="net",version="1"} 30
nv_inference_queue_summary_us{model="net",version="1",quantile="0.5"} 100
nv_inference_queue_summary_us{model="net",version="1",quantile="0.95"} 2500.5
nv_inference_queue_summary_us{model="other",version="1",quantile="0.95"} 9
nv_inference_queue_summary_us{model="net",version="2",quantile="0.95"} Nan
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
nv_gpu_utilization{gpu_uuid="GPU-2"} 0.7
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 1048576
nv_gpu_memory_used_bytes{gpu_uuid="GPU-2"} 2097152
nv_gpu_power_usage{gpu_uuid="GPU-1"} 71.5
nv_energy_consumption{gpu_uuid="GPU-1"} 12.5
"""


def test_statistics_are_read():
    snapshot = snapshot_of(json.loads(STATISTICS))
    assert (snapshot.requests, snapshot.request_ns) == (30, 300_000_000)
    assert snapshot.queue_ms == pytest.approx(4)
    assert (snapshot.input_ns, snapshot.infer_ns, snapshot.output_ns) == (
        3_000_000,
        150_000_000,
        6_000_000,
    )
    assert snapshot.cache_hits == 4
    assert snapshot.batch_mean == pytest.approx(40 / 12)
    assert snapshot.failures == 2


def test_grpc_leaves_zeros_out_and_sends_integers_as_text():
    over_grpc = {
        "name": "net",
        "inference_count": "3",
        "inference_stats": {"success": {"count": "3", "ns": "6000000"}, "fail": {}},
        "batch_stats": [{"batch_size": "1", "compute_infer": {"count": "3"}}],
    }
    snapshot = snapshot_of(over_grpc)
    assert (snapshot.requests, snapshot.request_ms) == (3, 2.0)
    assert (snapshot.executions, snapshot.failures) == (0, 0)


@pytest.mark.parametrize("broken", [{}, {"inference_stats": {"success": {"count": "many"}}}])
def test_what_is_no_statistics_is_refused(broken):
    with pytest.raises((LookupError, ValueError)):
        snapshot_of(broken)


def test_metrics_of_one_model_and_of_the_devices():
    assert told_of(METRICS, "net") == Told(
        queue_ms={0.5: 0.1, 0.95: pytest.approx(2.5005)},
        pending=3,
        gauges={
            "gpu_utilization": pytest.approx(0.6),
            "gpu_memory_mib": 3.0,
            "gpu_power_w": 71.5,
        },
    )
    assert told_of(METRICS, "nobody").queue_ms == {}
    assert told_of("", "net") == Told()


@given(st.text())
def test_any_text_is_read_without_an_error(text):
    told_of(text, "net")


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1))
def test_a_model_is_known_by_its_own_name_alone(name):
    labels = 'model="another model",version="1"'
    told = told_of(f"nv_inference_pending_request_count{{{labels}}} 5", name)
    assert told.pending == (5 if name == "another model" else None)
