"""The page in a real browser: no complaint, no request, every control by mouse and keyboard.

Needs Chromium with its driver and the Python package selenium.
"""

import shutil

import pytest

from entangle_cli.report.page import render
from entangle_cli.report.runs import read_runs

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys  # noqa: E402

if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("no Chromium with its driver", allow_module_level=True)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, write_run, tmp_path):
    runs = read_runs([write_run("baseline"), write_run("entangled")])
    path = tmp_path / "report.html"
    path.write_text(render(runs, "Two runs"), encoding="utf-8")
    browser.set_window_size(1280, 900)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    return browser


def all_of(page, selector):
    return page.find_elements("css selector", selector)


def shown(page, selector):
    return [one for one in all_of(page, selector) if one.is_displayed()]


def press(page, element, key):
    page.execute_script("arguments[0].focus()", element)
    element.send_keys(key)


def test_it_is_quiet_and_asks_nobody(page):
    assert page.get_log("browser") == []
    requests = [line["message"] for line in page.get_log("performance")]
    asked = [m for m in requests if '"Network.requestWillBeSent"' in m]
    assert len(asked) >= 1
    assert not [m for m in asked if '"url":"http' in m]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_window_size(width, 900)
    wide, view = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= view


def test_a_legend_hides_its_series_in_both_panels(page):
    button = all_of(page, "#figure-entanglement .legend button")[0]
    lines = "#figure-entanglement [data-series='0']"
    assert len(shown(page, lines)) == 2
    for key in (Keys.ENTER, Keys.SPACE):
        press(page, button, key)
    assert len(shown(page, lines)) == 2
    button.click()
    assert len(shown(page, lines)) == 0
    assert button.get_attribute("aria-pressed") == "false"


def test_layers_are_chosen_for_figures_and_tables(page):
    rows = "#layers tr[data-layer='conv']"
    before = len(shown(page, rows))
    all_of(page, ".bar summary")[0].click()
    all_of(page, ".layers input[value='conv']")[0].click()
    assert before > 0 == len(shown(page, rows))
    assert len(shown(page, "#figure-temperature [data-series='0']")) == 0
    all_of(page, "[data-check='all']")[0].click()
    assert len(shown(page, rows)) == before


def test_a_checkpoint_is_chosen(page):
    box = all_of(page, "#checkpoint")[0]
    press(page, box, "net-step100.onnx")
    models = {row.get_attribute("data-model") for row in shown(page, "#layers tr[data-model]")}
    assert models == {"net-step100.onnx"}


def test_tables_are_sorted_by_numbers_with_what_is_missing_last(page):
    (table,) = [
        one for one in all_of(page, "#layers table") if "temperature" in one.text.partition("\n")[0]
    ][:1]
    head = next(one for one in table.find_elements("css selector", "th button")
                if one.text == "temperature")  # fmt: skip
    column = page.execute_script("return arguments[0].closest('th').cellIndex + 1", head)
    for order in (sorted, lambda v: sorted(v, reverse=True)):
        press(page, head, Keys.ENTER)
        cells = table.find_elements("css selector", f"tbody td:nth-child({column})")
        values = [cell.get_attribute("data-value") for cell in cells]
        known = [float(value) for value in values if value]
        assert known == order(known)
        assert len(set(known)) > 1
        assert not any(values[len(known) :])


def test_values_are_told_by_the_arrow_keys_and_by_the_mouse(page):
    drawing = all_of(page, "#figure-entanglement svg")[0]
    tip = all_of(page, "#figure-entanglement .tip")[0]
    assert not tip.is_displayed()
    press(page, drawing, Keys.ARROW_RIGHT)
    assert tip.text == "conv, net-step0.onnx: 0.9"
    drawing.send_keys(Keys.ARROW_RIGHT)
    assert tip.text == "conv, net-step100.onnx: 0.7"
    drawing.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    dot = drawing.find_elements("css selector", "circle")[0]
    webdriver.ActionChains(page).move_to_element(dot).perform()
    assert tip.text == "conv, net-step0.onnx: 0.9"


def test_the_matrices_of_one_layer_are_shown_for_both_runs(page):
    panels = "#figure-class-pairs .panel"
    assert (len(all_of(page, panels)), len(shown(page, panels))) == (4, 4)
    box = all_of(page, "#figure-class-pairs select")[0]
    press(page, box, Keys.ARROW_DOWN)
    first = shown(page, panels)
    assert [panel.get_attribute("data-group") for panel in first] == ["conv", "conv"]
    press(page, box, Keys.ARROW_DOWN)
    assert [panel.get_attribute("data-group") for panel in shown(page, panels)] == ["fc", "fc"]
    press(page, box, Keys.HOME)
    assert len(shown(page, panels)) == 4


def test_inputs_are_found_by_class_and_name(page):
    assert len(shown(page, ".strip")) == 4
    press(page, all_of(page, "[data-strips='label']")[0], "dog")
    assert {strip.get_attribute("data-label") for strip in shown(page, ".strip")} == {"dog"}
    press(page, all_of(page, "[data-strips='words']")[0], "nothing like it")
    assert shown(page, ".strip") == []


def test_colors_follow_the_button(page):
    button = all_of(page, "#theme")[0]
    colors = []
    for name in ("light", "dark"):
        button.click()
        assert button.text == f"Colors: {name}"
        colors.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colors == ["rgb(255, 255, 255)", "rgb(18, 22, 29)"]


def test_print_keeps_every_figure(page):
    import base64

    sheet = base64.b64decode(page.print_page())
    assert sheet.startswith(b"%PDF")
    assert len(sheet) > 20_000


def test_on_paper_there_are_figures_and_no_controls(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        page.set_window_size(794, 1123)
        assert len(shown(page, "figure svg")) == len(all_of(page, "figure svg")) > 9
        for control in (".bar", "main select", "main input", "figure table"):
            assert all_of(page, control)
            assert shown(page, control) == [], control
        assert len(shown(page, "section > .scroll table")) >= 4
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_page_that_the_demo_ends_with(browser, tmp_path):
    """Every control of the real page, by mouse and by keyboard, in both widths."""
    from typer.testing import CliRunner

    from entangle_cli.app import app

    assert CliRunner().invoke(app, ["demo", str(tmp_path / "demo"), "-q"]).exit_code == 0
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((tmp_path / "demo" / "report.html").as_uri())
    assert len(all_of(browser, "figure")) >= 7
    assert len(all_of(browser, ".strip img")) > 100
    for picture, words in (("figure svg", "aria-label"), ("img", "alt")):
        assert all(one.get_attribute(words) for one in all_of(browser, picture))
    for width in (1280, 360):
        browser.set_window_size(width, 900)
        assert browser.execute_script(
            "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        browser.execute_script(
            "for (const d of document.querySelectorAll('details')) d.open = true"
        )
        # by key, then by mouse: what was hidden is shown again, what was closed opened
        controls = shown(browser, "main button, .bar button, summary")
        assert len(controls) > 100
        for control in controls:
            press(browser, control, Keys.ENTER)
            browser.execute_script("arguments[0].click()", control)
        for box in shown(browser, "select"):
            press(browser, box, Keys.END)
            press(browser, box, Keys.HOME)
    assert browser.get_log("browser") == []
    asked = [line["message"] for line in browser.get_log("performance")]
    assert not [m for m in asked if "Network.requestWillBeSent" in m and '"url":"http' in m]
