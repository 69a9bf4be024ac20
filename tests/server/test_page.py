"""The page of a server in a real browser: Chromium, headless, by playwright; skipped where either is missing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import browsing
import pytest
from browsing import CONTRASTS, PHONE, WIDE

from fakellm import Pause, stall
from fakellm.clock import InstantClock
from fakellm.server import Server

playwright = browsing.playwright
browser = browsing.browser


@pytest.fixture
def server(request):
    """Return a server; a test may say how many requests it keeps."""
    with Server(["openai"], clock=InstantClock(), keep=getattr(request, "param", 1_000)) as server:
        yield server


@pytest.fixture
def show(browser, server):
    """Return what opens a page of the server, whose script is to find no fault; and what was wrong."""
    contexts, wrong = [], []

    def show(query="", **options):
        context = browser.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: asked.url.startswith((server.url, "data:")) or wrong.append(asked.url))
        page.goto(f"{server.url}/_fakellm/{query}")
        return page

    show.wrong = wrong
    yield show
    for context in contexts:
        context.close()
    assert wrong == []


def ask(server, text, **headers):
    """Ask the fake of OpenAI for a stream."""
    body = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": text}]}
    url = f"{server.base_url('openai')}/chat/completions"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return b""


def expect(found):
    """Return what waits until something is so."""
    return playwright.expect(found)


def test_requests_appear_as_they_come_and_open_to_their_answer(server, show):
    server.sessions.own["openai"].when("story", "Once", Pause(1), " upon", Pause(1), " a time")
    page = show()
    expect(page.get_by_role("heading", name="Nothing was asked yet")).to_be_visible()
    expect(page.get_by_text(server.base_url("openai"), exact=True)).to_be_visible()

    ask(server, "a story")

    expect(page.get_by_role("status")).to_have_text("1 request, 0 misses")
    row = page.locator("#call-1")
    expect(row.locator(".state")).to_have_text("200 complete")
    label = row.locator("svg").get_attribute("aria-label")
    assert label.startswith("6 pieces, the first after 0.")
    assert row.locator(".chunk").count() == 3
    row.locator("summary").first.click()
    expect(row.get_by_text("a story", exact=True)).to_be_visible()
    said = [line.split("\t")[-1] for line in row.locator("tbody tr").all_inner_texts()]
    assert said[1:5] == ["'Once'", "' upon'", "' a time'", "Finish()"]


def test_an_open_request_goes_on(server, show):
    provider = server.sessions.own["openai"].otherwise("Hel", Pause(1), "lo", stall())
    page = show()
    client = urllib.request.urlopen(
        urllib.request.Request(
            f"{server.base_url('openai')}/chat/completions",
            json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}).encode(),
        )
    )
    row = page.locator("#call-1")
    expect(row.locator(".state")).to_have_text("200 running")
    row.locator("summary").first.click()
    expect(row.get_by_role("cell", name="'lo'")).to_be_visible()
    client.close()

    expect(row.locator(".state")).to_have_text("200 closed")
    assert provider.calls[0].state == "closed"


def test_a_miss_shows_what_was_scripted_and_the_difference(server, show):
    server.sessions.own["openai"].when("weather in Paris", "sunny").when("story", "Once")
    ask(server, "a story")
    ask(server, "weather in Rome")
    page = show()

    expect(page.get_by_role("status")).to_have_text("2 requests, 1 miss")
    page.get_by_label("Misses only").check()
    expect(page.locator("#call-1")).to_be_hidden()
    page.locator("#call-2 summary").first.click()
    expect(page.get_by_role("heading", name="Why it has no reply")).to_be_visible()
    expect(page.locator(".miss pre")).to_contain_text("wants 'weather in Paris', and has 'weather in Rome'")


@pytest.mark.parametrize("server", [2], indirect=True)
def test_a_request_that_the_server_let_go_says_so(server, show):
    server.sessions.own["openai"].otherwise("a")
    page = show()
    for number in range(1, 4):
        ask(server, "?")
        page.locator(f"#call-{number}").wait_for()
    page.locator("#call-1 summary").first.click()
    expect(page.get_by_text("request 1 was let go: of 3 that came here the last 2 are kept")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("3 requests, 0 misses")
    assert [said for said in show.wrong if "404" not in said] == []  # which Chromium tells of what is not there
    show.wrong.clear()


def test_what_came_from_outside_is_text(server, show):
    attack = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    server.sessions.own["openai"].otherwise(attack)
    ask(server, attack, **{"x-own": attack, "x-fakellm-session": attack})
    ask(server, attack)
    page = show()

    page.locator("#call-1 summary").first.click()
    expect(page.locator("#call-1 .message span")).to_have_text(attack)
    expect(page.locator("#call-1 tbody")).to_contain_text("<img src=x")
    expect(page.get_by_label("Session").locator("option")).to_have_count(2)
    assert page.title() == "fakellm"
    assert page.locator("img").count() == 0


def test_sessions_are_chosen(server, show):
    server.sessions.own["openai"].otherwise("a")
    ask(server, "mine", **{"x-fakellm-session": "one & only"})
    page = show()
    expect(page.get_by_role("status")).to_have_text("Nothing was asked yet")

    page.get_by_label("Session").select_option("one & only")

    expect(page.get_by_role("status")).to_have_text("1 request, 0 misses")
    expect(page.get_by_label("Session")).to_have_value("one & only")


def test_it_is_used_by_the_keyboard_alone(server, show):
    server.sessions.own["openai"].otherwise("a")
    ask(server, "mine")
    page = show()
    expect(page.locator("#call-1")).to_be_visible()

    for _ in range(3):  # session, misses, the request
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_text("mine", exact=True)).to_be_visible()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert (outline, page.evaluate("document.activeElement.localName")) == ("solid", "summary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(server, show, scheme):
    """Nothing is wider than the screen, and every text stands out from what is behind it: 4.5 to 1 (WCAG AA)."""
    server.sessions.own["openai"].when("story", *["word " * 30] * 3)
    ask(server, "story " + "x" * 400)
    ask(server, "missed")
    page = show(viewport=PHONE, color_scheme=scheme)
    for number in (1, 2):
        page.locator(f"#call-{number} summary").first.click()
    expect(page.locator("tbody tr")).not_to_have_count(0)
    expect(page.locator(".miss pre")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRASTS) == []


def test_a_page_of_another_origin_can_neither_script_nor_read(browser, server):
    """The fakes answer it, as the real APIs do; the control does not."""
    server.sessions.own["openai"].otherwise("Hello")
    ask(server, "what a reset would forget")
    with Server(["openai"], clock=InstantClock()) as other:
        other.sessions.own["openai"].document(
            "GET", "/v1/page", "<!doctype html><title>other</title>", headers={"content-type": "text/html"}
        )
        page = browser.new_page()
        page.goto(f"{other.url}/openai/v1/page")
        tried = page.evaluate(
            """async (url) => {
              const tried = async (path, options) => {
                try { return (await fetch(url + path, options)).status } catch (error) { return error.name }
              };
              const body = JSON.stringify({model: "m", messages: [{role: "user", content: "?"}]});
              const headers = {authorization: "Bearer k", "content-type": "application/json", "x-fakellm-session": "s"};
              return [
                await tried("/openai/v1/chat/completions", {method: "POST", headers, body}),
                await tried("/_fakellm/calls"),
                await tried("/_fakellm/reset", {method: "POST"}),
                await tried("/_fakellm/reset", {method: "POST", mode: "no-cors"}),
              ];
            }""",
            server.url,
        )
        page.close()

    assert tried == [200, "TypeError", "TypeError", "TypeError"]
    assert [len(session.log) for session in server.sessions] == [1, 1]
