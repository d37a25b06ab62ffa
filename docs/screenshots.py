"""Makes docs/images/: a real gate run, its report in a real browser, pictures of it.

    python docs/screenshots.py                       # the gate, then the pictures: some minutes
    python docs/screenshots.py --results gate.json   # the pictures alone

Records the built-in detector on two backends at three precisions, breaks the build of one backend
(its graphs are no longer optimized, on one thread), and gates it. Needs `playwright`, and a
Chromium: the system's, or the one that `playwright install chromium` brings.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pytest_inferbench.report.html import html
from pytest_inferbench.report.html.references import read_references
from pytest_inferbench.report.reading import read_results

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

SETTINGS = """\
lock = "lock"
[matrix]
backends = ["ort-cpu", "openvino"]
precisions = ["fp32", "fp16", "int8"]
[latency]
runs = 3
seconds = "300 ms"
batches = [1, 2, 4]
# the machine that makes pictures may be a shared one
most_steal = 0.9
most_other = 0.95
same_speed = 0.3
"""

BROKEN = """\
[backends.ort-cpu]
graph_optimization_level = "disable_all"
intra_op_num_threads = 1
"""

SHOTS = (
    # name, width, height, dark, where to scroll
    ("report-wide", 1280, 1360, False, ""),
    ("report-dark", 1280, 1360, True, ""),
    ("report-narrow", 390, 1360, False, ""),
    ("report-cell", 1280, 1360, False, "#c0"),
    ("report-pareto", 1280, 660, False, "#pareto"),
)


def main() -> int:
    """Gate, unless results are given; then take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="take the pictures of these results")
    parser.add_argument("--sessions", type=int, default=2, help="sessions to record first")
    parser.add_argument("--keep", type=Path, help="copy the results there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = options.results or _gated(Path(folder), options.sessions)
        if options.keep:
            shutil.copy(results, options.keep)
        page = Path(folder, "report.html")
        references = read_references(ROOT / "fixtures" / "published.toml")
        page.write_text(html(read_results(results), references), encoding="utf-8")
        _photograph(page)
    return 0


def _gated(folder: Path, sessions: int) -> Path:
    """Return the results of a gate whose build is broken where it was recorded whole."""
    settings = folder / "inferbench.toml"
    settings.write_text(SETTINGS)
    for number in range(sessions):
        reason = f"session {number + 1}"
        _pytest(folder, "-m", "latency", "--update-baselines", "--inferbench-reason", reason)
    settings.write_text(SETTINGS + BROKEN)
    _pytest(folder, "-m", "latency or accuracy or placement", "--inferbench-json", "gate.json")
    return folder / "gate.json"


def _pytest(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, check=False)
    if done.returncode > 1:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")


def _photograph(page: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        system = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        try:
            for shot in SHOTS:
                _shoot(browser, page, *shot)
        finally:
            browser.close()


def _shoot(
    browser: Browser, page: Path, name: str, wide: int, high: int, dark: bool, at: str
) -> None:
    view = browser.new_page(
        viewport={"width": wide, "height": high}, color_scheme="dark" if dark else "light"
    )
    view.goto(page.as_uri() + at)
    view.wait_for_selector("#cells-table th button")
    view.wait_for_timeout(200)
    path = IMAGES / f"{name}.png"
    view.screenshot(path=path)
    view.close()
    with Image.open(path) as image:
        # few colours: a page of text and flat areas loses nothing that can be seen
        image.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
