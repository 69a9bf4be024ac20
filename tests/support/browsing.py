"""Pages in a real browser: Chromium, headless, by playwright; what imports this is skipped where either is missing."""

from __future__ import annotations

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the group `browser`")
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


def chromium():
    """Return the path of a Chromium that the system has; None is playwright's own."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """Return a Chromium: playwright's own, or one that the system has."""
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=chromium())
        except playwright.Error as error:
            pytest.skip(f"no Chromium: `playwright install chromium`, or the system's: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


CONTRASTS = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (at) => {
    for (; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  return [...document.querySelectorAll("body *")]
    .filter((at) => [...at.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && at.checkVisibility())
    .filter((at) => !["OPTION", "SELECT"].includes(at.tagName))
    .map((at) => {
      const [one, other] = [light(getComputedStyle(at).color), light(behind(at))].sort((a, b) => b - a);
      return [at.tagName, at.className, (one + 0.05) / (other + 0.05)];
    })
    .filter(([, , ratio]) => ratio < 4.5);
}"""
"""The texts that do not stand out from what is behind them: 4.5 to 1 (WCAG AA)."""
