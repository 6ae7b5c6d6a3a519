"""The report in a real browser: pictures are drawn, and nothing is asked of any network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from outcome_sample import sample_outcome

from negawatt.ledger import open_ledger
from negawatt.reports import book, compare, versus, write

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LIGHT, DARK = "1", "0"


@pytest.fixture(scope="module")
def browser() -> str:
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no browser here: none of {', '.join(NAMES)}")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(sample_outcome(blocks=6), tmp_path_factory.mktemp("report"))["html"]


def _load(browser: str, page: Path, folder: Path, scheme: str = LIGHT) -> tuple[str, str]:
    """The page after its scripts ran, and the browser's log of every request and message."""
    log = folder / "net.json"
    done = subprocess.run(
        [
            browser,
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            "--disable-extensions", "--proxy-server=http://127.0.0.1:9",  # nowhere: a closed port
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}", "--net-log-capture-mode=Everything",
            f"--blink-settings=preferredColorScheme={scheme}", "--enable-logging=stderr",
            "--virtual-time-budget=10000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr + log.read_text(encoding="utf-8", errors="replace")


def _complaints(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def _requests(log: str) -> set[str]:
    """Every address that a page asked for; what the browser asks on its own is no page's doing."""
    asked = re.findall(r'"initiator":"([^"]*)".*?"url":"([^"]+)"', log)
    return {url for initiator, url in asked if initiator != "not an origin"}


def test_all_pictures_are_drawn_and_nothing_is_complained_about(
    browser: str, page: Path, tmp_path: Path
) -> None:
    dom, log = _load(browser, page, tmp_path)
    assert _complaints(log) == []
    assert 'data-plots="ready"' in dom
    assert len(re.findall(r'class="js-plot[^"]*js-plotly-plot', dom)) == 5
    assert dom.count("<svg") >= 10
    for words in ("uniform int8", "budget 1 %", "int4-g128-sym"):
        assert words in dom


def test_the_only_address_asked_for_is_the_file_itself(
    browser: str, page: Path, tmp_path: Path
) -> None:
    _, log = _load(browser, page, tmp_path)
    asked = _requests(log)
    assert {url for url in asked if not url.startswith(("file:", "data:", "blob:"))} == set()


def test_a_page_that_does_ask_is_caught(browser: str, tmp_path: Path) -> None:
    # The test above would mean nothing if the log missed requests.
    leaky = tmp_path / "leaky.html"
    leaky.write_text('<!doctype html><title>x</title><img src="http://example.invalid/pixel.png">')
    _, log = _load(browser, leaky, tmp_path)
    assert "http://example.invalid/pixel.png" in _requests(log)


def test_the_pictures_take_the_colours_of_the_reader(
    browser: str, page: Path, tmp_path: Path
) -> None:
    light, _ = _load(browser, page, tmp_path / "light", LIGHT)
    dark, _ = _load(browser, page, tmp_path / "dark", DARK)
    style = page.read_text(encoding="utf-8")
    inks = re.findall(r"--ink: #(\w{6})", style)
    for dom, ink in ((light, inks[0]), (dark, inks[1])):
        rgb = ", ".join(str(int(ink[n : n + 2], 16)) for n in (0, 2, 4))
        assert f"fill: rgb({rgb})" in dom


def test_the_page_of_a_ledger_is_drawn_too(browser: str, tmp_path: Path) -> None:
    from negawatt.core.estimate import Estimate

    with open_ledger(tmp_path / "ledger.db") as ledger:
        energy = Estimate.exact(3.5, unit="J", source="test meter")
        ledger.append("measure", {"name": "train", "energy": energy})
        (tmp_path / "page.html").write_text(book.page(book.read_book(ledger)), encoding="utf-8")
    dom, log = _load(browser, tmp_path / "page.html", tmp_path)
    assert _complaints(log) == []
    assert 'data-plots="ready"' in dom


def test_the_page_of_a_comparison_is_drawn_too(browser: str, tmp_path: Path) -> None:
    from negawatt.core.estimate import Estimate

    with open_ledger(tmp_path / "ledger.db") as ledger:
        for name, joules in (("old", 100.0), ("new", 60.0)):
            energy = Estimate.exact(joules, unit="J", source="test meter")
            ledger.append("measure", {"name": name, "energy": energy})
        found = compare.compare(ledger, "old", "new")
    (tmp_path / "page.html").write_text(versus.page(found), encoding="utf-8")
    dom, log = _load(browser, tmp_path / "page.html", tmp_path)
    assert _complaints(log) == []
    assert len(re.findall(r'class="js-plot[^"]*js-plotly-plot', dom)) == 1


def test_a_page_prints_with_its_figures_and_its_methods(browser: str, tmp_path: Path) -> None:
    from pypdf import PdfReader

    from negawatt.core.estimate import Estimate

    with open_ledger(tmp_path / "ledger.db") as ledger:
        energy = Estimate.exact(3.5, unit="J", source="test meter", boundary="machine")
        ledger.append("measure", {"name": "train", "energy": energy})
        (tmp_path / "page.html").write_text(book.page(book.read_book(ledger)), encoding="utf-8")
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu",
            "--proxy-server=http://127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=10000", "--no-pdf-header-footer",
            f"--print-to-pdf={tmp_path / 'page.pdf'}", (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    pages = [page.extract_text() for page in PdfReader(tmp_path / "page.pdf").pages]
    assert "3.50" in pages[0]
    assert "Methods and sources" in pages[-1]
    assert "test meter" in pages[-1]
    assert not any("Skip to the content" in page for page in pages)
