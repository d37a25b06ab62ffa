"""Which Python and which server are taken, and why others are refused."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.serving import install
from pytest_inferbench.serving.command import Installation, Order, command_of
from pytest_inferbench.serving.variant import Variant


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def refused(code, said, act):
    with pytest.raises(InferbenchError) as caught:
        act()
    assert caught.value.code == code
    assert said in str(caught.value)


def test_a_python_that_the_stub_runs_with():
    found = install.find_python({"PATH": str(Path(sys.executable).parent)})
    assert found.version in install.PYTHONS
    assert found.version == "{}.{}".format(*sys.version_info[:2]) or not found.libraries


def test_a_python_that_is_none(tmp_path):
    other = executable(tmp_path / "python", '#!/bin/sh\necho \'["3.13", "/lib", "python"]\'\n')
    static = executable(tmp_path / "static", '#!/bin/sh\necho \'["3.11", null, "python"]\'\n')
    for python, said in (
        (other, "is 3.13"),
        (static, "has no libpython3.11.so.1.0"),
        (tmp_path / "nowhere", "does not answer"),
    ):
        env = {install.PYTHON_VARIABLE: str(python)}
        refused("IB-805", said, lambda env=env: install.find_python(env))


@pytest.mark.skipif(sys.version_info < (3, 10), reason="numpy 2 needs a newer Python")
def test_numpy_2_is_refused():
    import numpy

    if int(numpy.__version__.partition(".")[0]) < 2:
        install.check_environment(sys.executable)
    else:
        refused("IB-811", "reads wrong values", lambda: install.check_environment(sys.executable))
        refused("IB-811", "reads wrong values", lambda: install.refuse_numpy_2(sys.executable))


def test_what_cannot_be_imported_is_an_installation_that_failed():
    refused(
        "IB-810",
        "no_such_module",
        lambda: install.check_environment(sys.executable, ["no_such_module"]),
    )


def test_what_a_variant_needs():
    def needs(fields, **versions):
        return install.requirements_for(Variant.from_fields(fields), versions)

    assert needs({}, onnxruntime="1.32.0") == ("numpy<2", "onnxruntime==1.32.0")
    assert needs({}) == ("numpy<2", "onnxruntime>=1.20")
    assert needs({"runtime": "python"}) == ("numpy<2",)
    assert needs({"runtime": "openvino"}) == ("numpy<2", "openvino>=2025.0")
    assert needs({"device": "gpu"})[1].startswith("onnxruntime-gpu[cuda,cudnn]")
    refused("IB-812", "tensorrt on gpu", lambda: needs({"runtime": "tensorrt", "device": "gpu"}))
    refused("IB-812", "accelerator openvino", lambda: needs({"accelerator": "openvino"}))


def test_a_server_that_is_named(tmp_path):
    home = tmp_path / "opt"
    server = executable(home / "bin" / "tritonserver", "#!/bin/sh\n")
    (home / "backends" / "onnxruntime").mkdir(parents=True)
    (home / "caches").mkdir()
    for name in (home, server):
        found = install.named_installation(str(name), Variant(), {"PATH": "/usr/bin"})
        assert found.tritonserver == str(server)
        assert found.backends == str(home / "backends")
        assert found.caches == str(home / "caches")
    tensorrt = Variant(runtime="tensorrt", device="gpu")
    refused(
        "IB-812",
        "has no backend tensorrt; it has onnxruntime",
        lambda: install.named_installation(str(home), tensorrt, {"PATH": "/usr/bin"}),
    )
    refused(
        "IB-812",
        "names no Triton server",
        lambda: install.named_installation(str(tmp_path), Variant(), {"PATH": "/usr/bin"}),
    )


def test_a_container(tmp_path):
    refused(
        "IB-812",
        "needs Docker",
        lambda: install.named_installation("docker:img", Variant(), {"PATH": str(tmp_path)}),
    )
    executable(tmp_path / "docker", "#!/bin/sh\n")
    found = install.named_installation("docker:img:24.10", Variant(), {"PATH": str(tmp_path)})
    assert found.image == "img:24.10"
    order = Order(Path("/repo"), ["net"], gpu=True)
    command = command_of(found, order, (1, 2, 3), "name", "prefix")
    assert command[:3] == ["docker", "run", "--rm"]
    assert "--volume=/repo:/models:ro" in command
    assert "--gpus=all" in command
    assert "--metrics-port=3" in command
    assert "--model-repository=/models" in command
    assert "--load-model=net" in command


@pytest.mark.parametrize("how", ["its input ends", "it is asked"])
def test_the_script_in_a_container(tmp_path, how):
    """What a container runs, with a server that is none."""
    server = "#!/bin/sh\ntrap 'echo ended > ended; exit 7' TERM\necho \"$@\" > started\n"
    executable(tmp_path / "bin" / "tritonserver", server + "while :; do sleep 0.05; done\n")
    command = command_of(
        Installation("tritonserver", image="img"), Order(Path("/repo")), (1, 2, 3), "n", "p"
    )
    process = subprocess.Popen(
        command[command.index("img") + 1 :],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert "--model-repository=/models" in (tmp_path / "started").read_text()
    if how == "it is asked":
        process.terminate()
    else:
        process.stdin.close()
    assert process.wait(5) == 7, "the server's own exit status"
    assert (tmp_path / "ended").exists()


def test_installing_what_is_not_there_is_said():
    from pytest_inferbench.serving.installing import run_step

    refused("IB-810", "cannot be started", lambda: run_step(["/nowhere/python"], "numpy", 5))
    refused("IB-810", "longer than 0.2 s", lambda: run_step(["sleep", "9"], "numpy", 0.2))
    code = "import sys; print('no such wheel', file=sys.stderr); sys.exit(1)"
    refused("IB-810", "no such wheel", lambda: run_step([sys.executable, "-c", code], "x", 20))


def test_our_backends_go_with_the_installation():
    assert set(install.own_backends()) == {"onnxruntime", "openvino"}
    assert Installation.from_fields(Installation("x").as_fields()) == Installation("x")
