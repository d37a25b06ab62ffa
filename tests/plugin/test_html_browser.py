"""The report of a real gate, in a real browser: it sorts, filters, fits, and is reached by keys."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SYSTEM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

# One cell that no machine keeps within its objective; the others have it easy.
BUDGETS = """
[models.net.budgets]
p5 = false
p50 = { fp16 = "0.0000001 ms", default = "60 s" }
"""


@pytest.fixture
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    with sync_api.sync_playwright() as playwright:
        # the system's, else what `playwright install chromium` has brought
        path = SYSTEM or playwright.chromium.executable_path
        if not Path(path).is_file():
            pytest.skip(
                "no Chromium here: apt-get install chromium, or playwright install chromium"
            )
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class View:
    """A page of the browser that notes every complaint."""

    def __init__(self, browser, path, width, **how):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **how)
        self.complaints = []
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self.asked(asked.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state()

    def asked(self, url):
        if not url.startswith(("file:", "data:")):
            self.complaints.append(f"asked for {url}")

    def column(self, name):
        return self.page.eval_on_selector_all(
            f"#cells-table tbody .f-{name}", "all => all.map(each => each.textContent)"
        )

    def fits(self):
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return wide[0] <= wide[1]


@pytest.mark.slow
def test_the_report_of_a_real_gate_in_a_real_browser(browser, project, gate):
    settings = project.path / "inferbench.toml"
    text = settings.read_text().replace('["fp32"]', '["fp32", "fp16", "int8"]')
    settings.write_text(text + BUDGETS)
    result = gate("-m", "latency or accuracy", "--inferbench-html", "out/report.html")
    assert result.ret == 1
    path = project.path / "out" / "report.html"
    wide = View(browser, path, 1280)
    _is_told(wide)
    _sorts_and_filters(wide)
    _is_reached_by_keys(wide)
    _has_two_themes(wide)
    assert wide.fits()
    narrow = View(browser, path, 390, color_scheme="dark")
    assert narrow.fits()
    for section in narrow.page.query_selector_all("details"):
        section.evaluate("each => { each.open = true; }")
    assert narrow.fits()
    assert narrow.page.locator("#cells-table tbody tr").count() == 3
    still = View(browser, path, 390, java_script_enabled=False)
    assert still.fits()
    assert still.page.locator("#cells-table tbody tr").count() == 3
    assert not still.page.locator("#theme").is_visible()
    _prints(View(browser, path, 1280))
    for view in (wide, narrow, still):
        assert view.complaints == []


@pytest.mark.slow
def test_thousands_of_cells_open_and_filter(browser, tmp_path):
    from pytest_inferbench.report.html import html, page

    drawn = _drawn()
    path = tmp_path / "many.html"
    path.write_text(html(drawn(3000, sessions=60, regressed=30)), encoding="utf-8")
    view = View(browser, path, 1280)
    view.page.wait_for_function("document.querySelectorAll('#cells-table tbody tr').length === 200")
    view.page.fill("#filter-text", "trt int8")
    view.page.wait_for_function("document.getElementById('shown').textContent.includes(' of 3000')")
    assert set(view.column("backend")) == {"trt"}
    view.page.fill("#filter-text", "")
    view.page.click("#more")
    assert view.page.locator("#cells-table tbody tr").count() == 400
    view.page.evaluate(f"location.hash = '#c{page.STATIC + 80}'")
    view.page.wait_for_selector(f"#c{page.STATIC + 80}[open] .body")
    view.page.evaluate("location.hash = '#c2999'")
    view.page.wait_for_function(
        "document.getElementById('shown').textContent.includes('its row alone')"
    )
    view.page.select_option("#model-shown", "model-200")
    view.page.wait_for_selector(".pareto[data-model='model-200'] svg")
    assert view.complaints == []


def _drawn():
    """The results that tests of the page draw, from their conftest."""
    import importlib.util

    path = Path(__file__).parents[1] / "report" / "html" / "conftest.py"
    spec = importlib.util.spec_from_file_location("drawn_results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.draw


def _is_told(view):
    page = view.page
    assert "1 regressed, of 3 cells" in page.text_content("h1")
    assert "net on ort-cpu at fp16" in page.text_content("#wrong")
    assert page.locator("#c0").get_attribute("open") is not None
    assert page.locator("#c1").get_attribute("open") is None
    page.click("#cells-table tbody tr:nth-child(2) a")
    page.wait_for_selector("#c1[open]")
    assert page.evaluate("document.activeElement.closest('details').id") == "c1"
    assert page.locator("#c0 svg[role=img]").count() > 1


def _sorts_and_filters(view):
    page = view.page
    assert view.column("precision")[0] == "fp16"
    button = page.locator("#cells-table thead button", has_text="precision")
    button.click()
    assert view.column("precision") == ["fp16", "fp32", "int8"]
    button.click()
    assert view.column("precision") == ["int8", "fp32", "fp16"]
    sorted_by = page.locator("#cells-table thead th[aria-sort]")
    assert [sorted_by.count(), sorted_by.get_attribute("aria-sort")] == [1, "descending"]
    page.locator("#cells-table thead button", has_text="p50 ms").click()
    times = [float(text) for text in view.column("p50-ms")]
    assert times == sorted(times)
    page.select_option("#filter-verdict", "regressed")
    assert view.column("precision") == ["fp16"]
    assert page.text_content("#shown") == "1 of 3 cells"
    page.select_option("#filter-verdict", "")
    page.fill("#filter-text", "INT8 pass")
    assert view.column("precision") == ["int8"]
    page.fill("#filter-text", "no such cell")
    assert view.column("precision") == []
    page.fill("#filter-text", "")
    assert len(view.column("precision")) == 3


def _is_reached_by_keys(view):
    page = view.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.locator("#filter-text").focus()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(e => [e.tagName, e.textContent, getComputedStyle(e).outlineStyle])"
                "(document.activeElement)"
            )
        )
    assert any(tag == "BUTTON" and "precision" in text for tag, text, _ in seen)
    assert all(outline != "none" for tag, _, outline in seen if tag in ("BUTTON", "A"))
    page.locator("#cells-table thead button", has_text="backend").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("backend")


def _has_two_themes(view):
    page = view.page
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    dark = page.evaluate(colour)
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    assert light != dark
    page.click("#theme")
    assert page.evaluate(colour) == light
    page.emulate_media(color_scheme="dark")
    page.evaluate("delete document.documentElement.dataset.theme")
    assert page.evaluate(colour) == dark


def _prints(view):
    view.page.emulate_media(media="print")
    assert not view.page.locator("#controls").is_visible()
    assert not view.page.locator("#theme").is_visible()
    assert view.page.locator("#c2 .body").is_visible()  # folded on the screen
    assert view.page.pdf()[:4] == b"%PDF"
    assert view.complaints == []
