"""Device memory, streams and graphs: on a real GPU where there is one, through either package."""

from __future__ import annotations

import importlib
import threading

import numpy as np
import pytest

from pytest_inferbench.backends.device_buffers import driver_version, find_device, open_device
from pytest_inferbench.errors import InferbenchError

KINDS = {
    "pycuda": ("pycuda.driver", "pytest_inferbench.backends.device_pycuda", "PyCuda"),
    "cuda-python": (
        "cuda.bindings.runtime",
        "pytest_inferbench.backends.device_cuda_python",
        "CudaPython",
    ),
}


@pytest.fixture(params=KINDS)
def cuda(request):
    package, module, name = KINDS[request.param]
    pytest.importorskip(package, exc_type=ImportError)
    try:
        made = getattr(importlib.import_module(module), name)()
    except InferbenchError as error:
        pytest.skip(f"no GPU: {error.message}")
    with made.active():
        yield made
        made.close()


def test_the_drivers_version_is_the_kernels_word_and_cudas_where_it_has_none(tmp_path):
    file = tmp_path / "version"
    assert driver_version(13000, file) == "CUDA 13.0"
    assert driver_version(12040, file) == "CUDA 12.4"
    assert driver_version(0, file) == ""
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\nGCC\n")
    assert driver_version(13000, file) == "580.65.06"
    file.write_text("nothing of the kind")
    assert driver_version(13000, file) == "CUDA 13.0"


def test_without_a_package_or_a_gpu_the_error_says_which():
    if find_device() is not None:
        pytest.skip("there is a GPU here")
    with pytest.raises(InferbenchError) as caught:
        open_device()
    assert caught.value.code in ("IB-370", "IB-372")


def test_what_goes_up_comes_down(cuda):
    array = np.random.default_rng(0).random((3, 5, 7), np.float32)
    stream, address = cuda.stream(), cuda.allocate(array.nbytes)
    host = cuda.pinned(array.nbytes)
    host[:] = array.reshape(-1).view(np.uint8)
    cuda.upload(address, host, stream)
    back = cuda.pinned(array.nbytes)
    cuda.download(back, address, stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(back.copy().view(np.float32).reshape(array.shape), array)
    cuda.free(address)


def test_nothing_has_an_address_too(cuda):
    address = cuda.allocate(0)
    assert address
    assert cuda.pinned(0).size == 0
    cuda.upload(address, cuda.pinned(0), cuda.stream())


def test_memory_is_given_back(cuda):
    before_mib = cuda.used_mib()
    address = cuda.allocate(256 << 20)
    assert cuda.used_mib() > before_mib + 200
    cuda.free(address)
    assert cuda.used_mib() < before_mib + 50


def test_a_captured_run_is_a_recording_and_no_run(cuda):
    stream, address = cuda.stream(), cuda.allocate(4)
    host = cuda.pinned(4)
    host[:] = 1
    cuda.upload(address, host, stream)
    cuda.synchronize(stream)
    host[:] = 2
    launch = cuda.capture(stream, lambda: cuda.upload(address, host, stream))
    back = cuda.pinned(4)
    for expected, run in ((1, lambda: None), (2, launch)):
        run()
        cuda.download(back, address, stream)
        cuda.synchronize(stream)
        assert back.tolist() == [expected] * 4


def test_events_tell_the_time_between_them_on_the_device(cuda):
    stream, size = cuda.stream(), 64 << 20
    address, host = cuda.allocate(size), cuda.pinned(size)
    started, halfway, stopped = (cuda.event() for _ in range(3))
    cuda.record(started, stream)
    cuda.upload(address, host, stream)
    cuda.record(halfway, stream)
    for _ in range(4):
        cuda.upload(address, host, stream)
    cuda.record(stopped, stream)
    cuda.synchronize(stream)
    assert cuda.elapsed_ms(started, stopped) > 2 * cuda.elapsed_ms(started, halfway) > 0


def test_another_thread_reaches_the_same_memory(cuda):
    stream, address = cuda.stream(), cuda.allocate(4)
    failed = []

    def fill():
        try:
            with cuda.active():
                host = cuda.pinned(4)
                host[:] = 7
                cuda.upload(address, host, stream)
                cuda.synchronize(stream)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    back = cuda.pinned(4)
    cuda.download(back, address, stream)
    cuda.synchronize(stream)
    assert not failed
    assert back.tolist() == [7] * 4


def test_the_device_tells_what_it_is(cuda):
    device = cuda.device()
    assert device.name
    assert device.capability.count(".") == 1
    assert device.driver
    assert device.total_mib > 0


def test_what_cuda_refuses_is_an_error_of_ours(cuda):
    with pytest.raises(InferbenchError) as caught:
        cuda.allocate(1 << 60)
    assert caught.value.code == "IB-372"
