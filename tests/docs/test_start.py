"""docs/start.md from top to bottom: each command ends as the page says, beside one model."""

from __future__ import annotations

import pytest

# Quick and deaf to neighbours; appended to the page's own settings.
QUICK = """
cache = ".cache"
lock = ".lock"
latency = { runs = 3, seconds = "150 ms", warmup_ceiling = "300 ms", most_steal = 1.0, \
most_other = 1.0, same_speed = 1000.0 }
"""


@pytest.mark.slow
def test_the_page_holds_from_top_to_bottom(shown, tmp_path, save_net, run):
    pytest.importorskip("onnxruntime")
    (tmp_path / "models").mkdir()
    save_net(tmp_path / "models/net.onnx")
    settings = tmp_path / "inferbench.toml"
    settings.write_text(QUICK)
    failed = []
    for block in shown.blocks(shown.ROOT / "docs/start.md"):
        if block.language == "toml":
            with settings.open("a") as file:
                file.write(block.text)
        elif block.language == "python":
            (tmp_path / "test_net.py").write_text(block.text)
        for command in shown.commands(block):
            if "pip install" in command:  # CI runs that word for word: test_readme.py
                continue
            done = run(command, tmp_path)
            said = f"{command}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == (1 if block.title == "fails" else 0), said
            if block.title == "fails":
                failed.append(done.stdout)
    (said,) = failed
    assert "[IB-601] cosine regressed" in said
    assert "what to do: inferbench explain IB-601" in said
    assert list(tmp_path.glob("baselines/*/net.json"))
    done = run("pytest -q test_net.py", tmp_path)
    assert "1 failed, 1 passed" in done.stdout, "the budget that was tightened holds for own tests"
