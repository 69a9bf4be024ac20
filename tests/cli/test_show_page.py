"""The page of `fakellm show --html` in a real browser: it plays, it can be read by everybody, and it asks nobody.

`PYTHONPATH=tests/support python tests/cli/test_show_page.py` makes the picture of it in docs/ anew.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import browsing
import pytest
from browsing import CONTRASTS, PHONE, WIDE
from places import ROOT

from fakellm import Finish, Pause, Script, ToolCall, Usage
from fakellm.cassette import interaction_of, write
from fakellm.cli import page_of_run
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_run_fits_a_phone_too(browser, tmp_path, scheme):
    told = {
        "test": "tests/test_app.py::test_" + "x" * 60, "outcome": "failed", "calls": 1, "chunks": 19, "bytes": 4030,
        "tapes": [str(ROOT / "cassettes" / "chat.yaml")], "misses": ["no reply " * 30], "articles": [], "reports": [["fake_llm", "called " * 40]],
    }  # fmt: skip
    (tmp_path / "run.html").write_text(page_of_run([told, {**told, "outcome": "passed", "test": "a"}], ["b"]))
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "run.html").as_uri())

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRASTS) == []
    page.get_by_role("link", name="interaction 0").first.click()
    expect(page.locator("article:target .said")).to_contain_text("Hello!")
    context.close()


def picture(path):
    """Make a picture of the page at work: a tool call as it streamed, halfway."""
    script = Script(
        "I will ", "look ", Pause(0.31), "that ", Pause(0.02), "up. ", Pause(0.12), ToolCall("get_weather"),
        *(part for piece in ('{"ci', 'ty": ', '"Par', 'is"}') for part in (Pause(0.06), ToolCall(arguments=piece))),
        Pause(0.4), Finish("tool_calls"), Usage(87, 24),
    )  # fmt: skip
    with TemporaryDirectory() as folder, playwright.sync_playwright() as started:
        asked = {
            "model": "gpt-5", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
        }  # fmt: skip
        write("weather.yaml", interaction_of(script, URL, asked))
        show(Showing(("weather.yaml",), html=f"{folder}/page.html"))
        Path("weather.yaml").unlink()
        browser = started.chromium.launch(executable_path=browsing.chromium())
        page = browser.new_page(viewport={"width": 1100, "height": 860}, color_scheme="light")
        page.goto((Path(folder) / "page.html").as_uri())
        put(page, 0.62)
        page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    picture(ROOT / "docs" / "show.png")
