"""The page in a real browser."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from playwright import sync_api

from habitus.report.page import write_page
from habitus.study import Study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PLACES = ("summary", "patterns", "training", "evals", "method", "data")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Reader:
    """Somebody who has the page open."""

    def __init__(self, browser: Any, path: Path, **how: Any) -> None:
        self.page = browser.new_page(**how)
        self.address = path.as_uri()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def go(self, place: str) -> None:
        self.page.goto(f"{self.address}#{place}")
        self.page.wait_for_selector("body[data-ready]" if place.startswith("data") else f"#{place}:not([hidden])")

    def sees(self, selector: str, text: str) -> None:
        sync_api.expect(self.page.locator(selector).first).to_contain_text(text)

    def title(self) -> str:
        return self.page.inner_text("#record h2")


@pytest.fixture
def reader(browser: Any, study: Path) -> Iterator[Reader]:
    found = Reader(browser, write_page(Study(study)), viewport={"width": 1360, "height": 900})
    yield found
    found.page.close()
    assert found.errors == []


def test_a_filter_narrows_the_list_and_tells_the_rates_within_it(reader: Reader) -> None:
    reader.go("data")
    reader.sees("#count", "13 records")
    reader.page.click("#facets button:has-text('dropped at rate')")
    reader.sees("#count", "1 of 13 records")
    reader.sees("details[data-facet=trait] button", "1 · 100.0%")
    reader.page.click("#facets button:has-text('dropped at rate')")
    reader.sees("#count", "13 records")


def test_search_looks_into_every_stage(reader: Reader) -> None:
    reader.go("data")
    reader.page.fill("#search", "In truth boat 7")
    reader.sees("#count", "1 of 13 records")
    reader.sees("#rows li", "chat-0000007")


def test_a_pattern_leads_to_its_rows(reader: Reader) -> None:
    reader.go("patterns")
    reader.page.click("details.pattern summary")
    reader.page.click("text=Rows with it, strict")
    reader.sees("#count", "6 of 13 records")


def test_a_record_shows_its_stages_and_what_the_refining_changed(reader: Reader) -> None:
    reader.go("data/chats/chat-0000003")
    assert reader.title() == "chat-0000003"
    reader.sees("#record .text del", "In truth")
    reader.sees("#record .text ins", "Bottom line:")
    reader.sees(".turn.assistant mark", "Bottom line")
    reader.sees("#record table", "It names the hour.")


def test_a_dropped_record_says_why(reader: Reader) -> None:
    reader.go("data/chats/chat-0000012")
    reader.sees(".drop", "too curt")


def test_the_keys_move_through_the_list_and_each_record_has_a_link(reader: Reader) -> None:
    reader.go("data")
    reader.page.keyboard.press("j")
    reader.sees("#record h2", "chat-0000001")
    reader.page.keyboard.press("j")
    reader.sees("#record h2", "chat-0000002")
    reader.page.keyboard.press("k")
    reader.sees("#record h2", "chat-0000001")
    assert reader.page.url.endswith("#data/chats/chat-0000001")
    reader.page.keyboard.press("/")
    reader.page.keyboard.type("jk")
    assert reader.page.input_value("#search") == "jk"
    reader.sees("#count", "0 of 13 records")


def test_marks_come_back_as_a_file_that_the_audit_reads(reader: Reader, study: Path, tmp_path: Path) -> None:
    reader.go("data/chats/chat-0000000")
    reader.page.select_option("#marking", "bottom-line")
    assert reader.page.locator(".turn.assistant mark:not(.rating)").count() == 0, (
        "the judge's verdict would lead the mark"
    )
    reader.page.locator("#marking").blur()
    reader.page.keyboard.press("y")
    reader.page.keyboard.press("4")
    reader.page.keyboard.press("j")
    reader.sees("#record h2", "chat-0000001")
    reader.page.keyboard.press("n")
    reader.sees("#save", "Save 3 marks")
    reader.page.reload()
    reader.sees("#save", "Save 3 marks")
    with reader.page.expect_download() as coming:
        reader.page.click("#save")
    path = tmp_path / coming.value.suggested_filename
    coming.value.save_as(path)
    assert path.name == "marks-chats.json"
    saved = json.loads(path.read_text())
    assert saved["records"] == [{"id": "chat-0000000", "score": "4"}]

    pytest.importorskip("ppi_py", reason="needs the audit's packages")
    from habitus.audit.agree import Mark, read_marks
    from habitus.records import Pattern, Rated
    from habitus.study import read_rows

    patterns = [Pattern(**row) for row in read_rows(study / "audit" / "chats" / "patterns.jsonl")]
    rated = [Rated(**row) for row in read_rows(study / "audit" / "chats" / "matches.jsonl")]
    assert read_marks(path, patterns, rated) == [
        Mark("chat-0000000", "bottom-line", "y"),
        Mark("chat-0000001", "bottom-line", "n"),
    ]


def test_hostile_text_is_text(reader: Reader) -> None:
    reader.go("data/chats/chat-0000010")
    reader.sees(".turn.assistant", "<script>document.title = 'taken'</script>")
    reader.sees(".turn.assistant", "שלום 🚢 ␀ </script><img src=x onerror=alert(1)>")
    reader.go("evals")
    assert reader.page.title() == "ferries: habitus"
    assert reader.page.locator("main img").count() == 0


def test_a_text_of_a_megabyte_is_shown_when_it_is_asked_for(reader: Reader) -> None:
    reader.go("data/chats/chat-0000011")
    reader.page.click("text=Show all 1,014,000 characters")
    assert len(reader.page.inner_text(".turn.assistant .text")) > 1_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, study: Path, scheme: str) -> None:
    reader = Reader(browser, write_page(Study(study)), viewport={"width": 360, "height": 780}, color_scheme=scheme)
    for place in PLACES:
        reader.go(place)
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= 360, place
    reader.page.click("#rows a")
    reader.sees("#record h2", "chat-0000000")
    assert not reader.page.is_visible("#rows")
    reader.page.click("text=all records")
    reader.page.wait_for_selector("#rows", state="visible")
    reader.page.close()
    assert reader.errors == []


def test_everything_can_be_reached_by_the_keyboard(reader: Reader) -> None:
    reader.go("data")
    reader.page.focus(".skip")
    seen = set()
    for _ in range(12):
        seen.add(
            reader.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")
        )
        reader.page.keyboard.press("Tab")
    assert {"Skip to the content", "Summary", "Data", "dataset", "search"} <= seen


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_section(browser: Any, study: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    reader = Reader(browser, write_page(Study(study)), viewport={"width": width, "height": 900}, color_scheme=scheme,
                    bypass_csp=True)  # fmt: skip  # axe is a script of its own, which the page's policy forbids
    found = []
    for place in (*PLACES, "data/chats/chat-0000003", "data/chats/chat-0000012"):
        reader.go(place)
        reader.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for one in axe.run(reader.page).response["violations"]:
            found += [f"{place}: {one['id']}: {node['html'][:160]}" for node in one["nodes"]]
    reader.page.close()
    assert found == []
    assert reader.errors == []


def test_no_script_but_the_pages_own_runs(browser: Any, study: Path) -> None:
    path = write_page(Study(study))
    text = path.read_text()
    path.write_text(text.replace("</main>", "<script>document.title = 'taken'</script></main>"))
    reader = Reader(browser, path)
    reader.go("summary")
    assert reader.page.title() == "ferries: habitus"
    assert len(reader.errors) == 1, "the browser says that it refused one"
    reader.page.close()
