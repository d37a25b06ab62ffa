"""The documentation site: every page has its place, the reference is whole, and it builds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_inferbench import testkit
from pytest_inferbench.backends.catalog import CATALOG
from pytest_inferbench.cli import VERBS
from pytest_inferbench.settings.metrics import METRICS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def reference():
    """What `docs/reference.py` writes when the site is built."""
    spec = importlib.util.spec_from_file_location("inferbench_reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_every_page_has_its_place_and_every_place_a_page(reference):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    placed = re.findall(r"([\w/-]+\.md)$", text.split("\nnav:\n")[1], re.MULTILINE)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(placed) == sorted(pages | reference.keys()), "one line in mkdocs.yml a page"


def test_every_backend_has_a_page_with_its_traps():
    elsewhere = {
        "ort-dml": "backends/ort-other.md",
        "ort-coreml": "backends/ort-other.md",
        "triton-http": "triton.md",
        "triton-grpc": "triton.md",
        "http": "http-service.md",
    }
    for name in CATALOG:
        text = (DOCS / elsewhere.get(name, f"backends/{name}.md")).read_text(encoding="utf-8")
        assert name in text
        assert "\n## Traps\n" in text, name


def test_the_reference_has_what_the_code_has(reference):
    assert len(reference) == 7
    options = reference["reference/options.md"]
    for option in ("--inferbench-require EXPR", "--update-baselines=replace", "conformance"):
        assert f"`{option}`" in options
    for name in METRICS:
        assert f"| `{name}` |" in reference["reference/metrics.md"]
    for name in CATALOG:
        assert f"| `{name}` |" in reference["reference/backends.md"]
    for verb in VERBS:
        assert (
            f"`inferbench {verb.__name__.rpartition('.')[2]}" in reference["reference/commands.md"]
        )
    fixtures = re.findall(r"^\| `(\w+)` \|", reference["reference/fixtures.md"], re.MULTILINE)
    assert len(fixtures) > 20
    assert all(hasattr(testkit, name) or name.startswith("pytest_") for name in fixtures)
    keys = reference["reference/settings-keys.md"]
    assert "## `[models.NAME.budgets]`" not in keys, "budgets are metrics"
    for heading in ("[models.NAME.quantization]", "[latency]", "[serving]", "[environments.NAME]"):
        assert f"## `{heading}`" in keys
    assert "(../troubleshooting.md#ib-603)" in reference["reference/codes.md"]


@pytest.mark.slow
def test_it_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="the extra docs brings it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    loads = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="?(https?:)?//[^>]*>')
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found = [m[0] for m in loads.finditer(text) if "canonical" not in m[0]]
        assert found == [], page
    assert 'id="ib-603"' in (tmp_path / "site/troubleshooting/index.html").read_text()
