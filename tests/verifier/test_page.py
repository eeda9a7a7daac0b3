"""The page in a browser whose network is off: files are dropped on it, and it says what the command says.

Debian's Chromium, driven by Playwright. Nothing of the page is replaced: it is the file that `./scripts/verifier` builds.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.verifier.other import encoded
from tests.verifier.published import GENUINE, PUBLISHED, file_of, genesis_of, published_form

pytestmark = pytest.mark.campaign

DROP = """async ([selector, name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  const target = document.querySelector(selector);
  target.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
ASK = """(asked) => {
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const plain = (_, value) => (typeof value === "bigint" ? String(value) : value);
  return asked.map(([receipt, genesis]) => JSON.stringify(window.verdictOf(bytesOf(receipt), bytesOf(genesis)), plain));
}"""
FLIP = """([receipt, genesis, xor]) => {
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const file = bytesOf(receipt);
  return Array.from(file, (byte, at) => {
    const changed = file.slice();
    changed[at] = byte ^ xor;
    const verdict = window.verdictOf(changed, bytesOf(genesis));
    return verdict.refused?.code ?? (verdict.ok ? "VERIFIED" : verdict.checks.at(-1).name);
  });
}"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield launched
        launched.close()


class Seen:
    """What the page asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[tuple[Page, Seen]]:
    """The page, offline from before it was opened."""
    context = browser.new_context(offline=True)
    tab = context.new_page()
    seen = Seen(tab)
    tab.goto(page.as_uri())
    yield tab, seen
    context.close()


def case_named(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(case for case in PUBLISHED["receipts"] if case["name"] == name)
    return found


def drop(tab: Page, which: str, file: bytes, name: str = "file.json") -> None:
    tab.evaluate(DROP, [f"#drop-{which}", name, encoded(file)])


def said(tab: Page) -> str:
    expect(tab.locator("#verdict")).not_to_be_empty()
    return tab.locator("#verdict").inner_text()


def test_a_dropped_receipt_is_verified_check_by_check_without_a_connection(
    opened: tuple[Page, Seen], page: Path
) -> None:
    tab, seen = opened
    case = case_named("a payment settles")
    drop(tab, "genesis", genesis_of(case), "genesis.json")
    drop(tab, "receipt", file_of(case))
    assert said(tab) == "VERIFIED, assurance BFT: settled"
    items = tab.locator("#checks li")
    sentences = [text.split("\n")[0] for text in items.locator(".sentence").all_inner_texts()]
    assert sentences == case["expect"]["sentences"]
    assert items.locator(".mark").all_inner_texts() == ["ok"] * len(sentences)
    assert "false only if at least a third" in tab.locator("#facts").inner_text()
    assert seen.requests == [page.as_uri()]
    assert seen.errors == []


def test_chosen_files_and_a_second_receipt_replace_what_was_said(
    opened: tuple[Page, Seen], tmp_path: Path
) -> None:
    tab, seen = opened
    good, bad = case_named("a payment expires"), case_named("two of four sign")
    (tmp_path / "genesis.json").write_bytes(genesis_of(good))
    (tmp_path / "receipt.json").write_bytes(file_of(good))
    tab.set_input_files("#file-genesis", tmp_path / "genesis.json")
    tab.set_input_files("#file-receipt", tmp_path / "receipt.json")
    assert said(tab) == "VERIFIED, assurance BFT: expired (SETTLE_BY_PASSED)"
    drop(tab, "receipt", file_of(bad))
    tab.wait_for_selector("#verdict.bad")
    assert said(tab) == "NOT VERIFIED: this receipt proves nothing."
    last = tab.locator("#checks li").last
    assert last.locator(".mark").inner_text() == "FAIL"
    assert "fewer votes than a quorum" in last.inner_text()
    assert tab.locator("#facts").inner_text() == ""
    assert seen.errors == []


def test_a_receipt_on_one_line_as_the_api_gives_it_is_read_and_no_other_spelling_with_it(
    opened: tuple[Page, Seen],
) -> None:
    """As `tallystick receipt verify` does."""
    tab, seen = opened
    case = case_named("a payment settles")
    line = msgspec.json.format(file_of(case), indent=-1)
    drop(tab, "genesis", genesis_of(case))
    for spelling in (line, line + b"\n", line.replace(b":", b" : ")):
        drop(tab, "receipt", spelling)
        expect(tab.locator("#verdict")).to_have_text("VERIFIED, assurance BFT: settled")
        drop(tab, "receipt", b"")
        expect(tab.locator("#verdict")).to_contain_text("MALFORMED")
    for spelling in (
        line.replace(b'"lane":0', b'"lane":1,"lane":0', 1),
        line.replace(b'"USD"', b'"\\u0055SD"'),
    ):
        drop(tab, "receipt", spelling)
        expect(tab.locator("#verdict")).to_contain_text("NON_CANONICAL")
        drop(tab, "receipt", b"")
        expect(tab.locator("#verdict")).to_contain_text("MALFORMED")
    assert seen.errors == []


def test_files_that_are_none_are_named_and_nothing_of_them_is_run(
    opened: tuple[Page, Seen],
) -> None:
    tab, seen = opened
    case = case_named("a payment settles")
    hostile = "<img src=x onerror=\"document.title='run'\">"
    drop(tab, "genesis", genesis_of(case))
    drop(tab, "receipt", f'{{"format": "{hostile}"}}'.encode(), hostile)
    assert said(tab).startswith("NOT VERIFIED: the receipt file cannot be read (MALFORMED")
    assert tab.locator("#drop-receipt .name").inner_text() == hostile
    assert tab.locator("img").count() == 0
    drop(tab, "genesis", b"{}")
    expect(tab.locator("#verdict")).to_contain_text("the genesis file cannot be read (MALFORMED")
    assert tab.title() == "Tallystick: verify a receipt"
    assert seen.errors == []


def test_the_page_may_not_connect_even_if_it_wanted_to(opened: tuple[Page, Seen]) -> None:
    """Its own policy forbids it, beside the network being off."""
    tab, seen = opened
    answer = tab.evaluate("fetch('https://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert answer == "refused"
    assert any("Content Security Policy" in error for error in seen.errors)


def test_the_browser_gives_every_published_case_its_verdict(opened: tuple[Page, Seen]) -> None:
    tab, seen = opened
    cases = PUBLISHED["receipts"]
    asked = [[encoded(file_of(case)), encoded(genesis_of(case))] for case in cases]
    for case, answer in zip(cases, tab.evaluate(ASK, asked), strict=True):
        verdict = json.loads(answer)
        for name in ("height", "time_ms"):
            if name in verdict:
                verdict[name] = int(verdict[name])
        assert published_form(verdict) == case["expect"], case["name"]
    assert seen.errors == []


def test_the_browser_refuses_every_flipped_byte_for_the_published_reason(
    opened: tuple[Page, Seen],
) -> None:
    tab, _ = opened
    case = GENUINE[0]
    runs = PUBLISHED["flips"]["runs"][case["name"]]
    expected = [answer for count, answer in runs for _ in range(count)]
    asked = [encoded(file_of(case)), encoded(genesis_of(case)), PUBLISHED["flips"]["xor"]]
    assert tab.evaluate(FLIP, asked) == expected
    assert len(expected) > 3_000
