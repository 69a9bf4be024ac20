"""The page of `fakellm show --html` in a real browser: it plays, it can be read by everybody, and it asks nobody."""

from __future__ import annotations

import browsing
import pytest
from browsing import CONTRASTS, PHONE, WIDE
from places import ROOT

from fakellm import Pause, Script, ToolCall
from fakellm.cassette import interaction_of, write
from fakellm.cli.showing import Showing, show

playwright = browsing.playwright
browser = browsing.browser
URL = "https://api.openai.com/v1/chat/completions"


@pytest.fixture
def opened(browser, tmp_path):
    """Return what opens the page of a recording; nothing may be fetched, and no script may fail."""
    contexts, wrong = [], []

    def opened(recording, **options):
        assert show(Showing((str(recording),), html=str(tmp_path / "page.html"))) == 0
        context = browser.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or wrong.append(asked.url))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def expect(found):
    return playwright.expect(found)


def taped(path, script, text="Hi"):
    asked = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": text}]}
    write(path, interaction_of(script, URL, asked))
    return path


def put(page, at):
    """Move the slider, as a hand would."""
    page.get_by_role("slider").evaluate(
        "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input')); }", at
    )


def seen(page):
    """Return what stands in the answer and can be seen."""
    return page.locator(".said").evaluate(
        "(said) => [...said.querySelectorAll('[data-at]')]"
        ".filter((one) => getComputedStyle(one).visibility === 'visible').map((one) => one.textContent).join('')"
    )


def test_the_slider_shows_what_had_come_by_then(tmp_path, opened):
    script = Script(Pause(1), "Hel", Pause(1), "lo", ToolCall("f", {"a": 1}))
    page = opened(taped(tmp_path / "t.yaml", script))
    assert seen(page) == 'Hellof: {"a": 1}'

    put(page, 1.5)

    assert seen(page) == "Hel"
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "1.500 seconds, 2 of 7 chunks")
    expect(page.locator("tr.now td.says")).to_have_text("Hel")
    assert page.locator(".line .chunk").count() == 7
    assert page.locator(".line").get_attribute("aria-label") == "7 chunks: the first after 1 s, the last after 2 s"


def test_it_plays_and_pauses_by_the_keyboard_alone(tmp_path, opened):
    page = opened(taped(tmp_path / "t.yaml", Script("Hel", Pause(600), "lo")))
    button = page.get_by_role("button", name="Play")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.localName") == "button":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    page.keyboard.press("Enter")
    expect(page.locator(".now[x='100%']")).to_have_count(0)
    assert seen(page) == "Hel"
    page.get_by_role("button", name="Pause").press("Enter")

    expect(button).to_be_visible()
    page.get_by_role("slider").press("End")
    assert seen(page) == "Hello"


def test_it_plays_to_the_end(tmp_path, opened):
    page = opened(taped(tmp_path / "t.yaml", Script("Hel", Pause(0.2), "lo")))
    page.get_by_label("Speed").select_option("ten times")

    page.get_by_role("button", name="Play").click()

    expect(page.locator(".player output")).to_have_text("0.200 s, 5 of 5")
    assert seen(page) == "Hello"


def test_what_was_recorded_is_text(tmp_path, opened):
    attack = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    page = opened(taped(tmp_path / "t.yaml", Script(attack, ToolCall("f", {"a": attack})), attack))

    assert seen(page).startswith(attack)
    expect(page.locator(".message span")).to_have_text(attack)
    assert page.locator("img").count() == 0
    assert page.title().endswith("t.yaml - fakellm")


def test_without_a_script_all_of_it_can_be_read(opened):
    page = opened(ROOT / "cassettes" / "chat.yaml", java_script_enabled=False)

    expect(page.locator(".said")).to_contain_text("Hello! ¡Hola!")
    expect(page.get_by_role("button", name="Play")).to_be_hidden()
    expect(page.locator("tbody tr")).to_have_count(19)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "recording", ["cassettes/servers/vllm-tools-parallel.yaml", "cassettes/dropped.yaml", "cassettes"]
)
def test_it_fits_a_phone_and_can_be_read(opened, scheme, recording):
    """Nothing is wider than the screen, and every text stands out from what is behind it: 4.5 to 1 (WCAG AA)."""
    page = opened(ROOT / recording, viewport=PHONE, color_scheme=scheme)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRASTS) == []
    names = "[...document.querySelectorAll('button, input, select, svg[role], [role=region]')]"
    unnamed = f"{names}.filter((one) => !(one.ariaLabel || one.labels?.length || one.textContent || one.getAttribute('aria-labelledby')))"
    assert page.evaluate(f"{unnamed}.length") == 0
