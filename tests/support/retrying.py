"""Apps that ask a provider and ask again: one that does all rightly, and many that do one thing wrong.

They are one app, `Asking`, in which a field each is otherwise: what the wrong ones have in common with the right one is
then right for sure.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import ssl
import time
from dataclasses import dataclass
from typing import Any

import httpx

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
AGAIN = frozenset({408, 429, 500, 503, 529})
CONTEXT = ssl.create_default_context()  # which takes longer than all else that a client is made of
CLIENT = httpx.Client(timeout=30, trust_env=False, verify=CONTEXT)
PATIENT = httpx.Client(timeout=None, trust_env=False, verify=CONTEXT)


class IncompleteAnswer(Exception):
    """The stream ended before the answer did."""


class Refused(Exception):
    """The provider refused for good."""


def told(headers):
    """Return after how many seconds the headers say to ask again."""
    if ms := headers.get("retry-after-ms"):
        return float(ms) / 1000
    return told_in_seconds(headers) or told_as_date(headers)


def told_in_seconds(headers):
    value = headers.get("retry-after", "")
    return float(value) if value.replace(".", "").isdigit() else None


def told_as_date(headers):
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return email.utils.mktime_tz(date) - time.time() if date else None


def texts(lines, *, checks=True):
    """Yield the texts of a stream; raise where it ends without a finish reason."""
    finished = False
    for line in lines:
        if line.startswith("data: {"):
            (choice,) = json.loads(line[6:])["choices"]
            finished = finished or choice["finish_reason"] is not None
            if text := choice["delta"].get("content"):
                yield text
    if checks and not finished:
        msg = "the stream ended early"
        raise IncompleteAnswer(msg)


def doubling(tried):
    """Wait 1, 2, 4 seconds and so on, at most a minute, half of it at random."""
    return min(2.0**tried, 60) * random.uniform(0.5, 1)


@dataclass(frozen=True)
class Asking:
    """How an app asks: `told` reads when to ask again, `wait` says how long to wait where nobody tells it."""

    told: Any = told
    wait: Any = doubling
    again: frozenset[int] = AGAIN
    attempts: int = 4
    client: Any = CLIENT
    checks: bool = True
    keeps: bool = False
    partial: tuple[type[Exception], ...] = ()
    fails: Any = None
    also: tuple[type[Exception], ...] = (httpx.TransportError, IncompleteAnswer)
    reconnect: Any = None

    def __call__(self):
        collected: list[str] = []
        error = None
        for tried in range(self.attempts):
            if not self.keeps:
                collected = []
            try:
                self._ask(collected)
                return "".join(collected)
            except (httpx.HTTPStatusError, *self.also) as failed:
                error = failed
            if collected and isinstance(error, self.partial):
                return "".join(collected)
            if (pause := self._pause(error, tried)) is None:
                break
            time.sleep(pause)
        if self.fails is not None:
            return self.fails(error)
        raise error

    def _ask(self, collected):
        with self.client.stream("POST", URL, json=BODY) as response:
            response.raise_for_status()
            for text in texts(response.iter_lines(), checks=self.checks):
                collected.append(text)

    def _pause(self, error, tried):
        """Return how long to wait before it asks again; None if it does not."""
        status = getattr(getattr(error, "response", None), "status_code", None)
        if tried == self.attempts - 1 or (status is not None and status not in self.again):
            return None
        if self.reconnect is not None and isinstance(error, httpx.ConnectError):
            return self.reconnect(tried)
        pause = None if status is None else self.told(error.response.headers)
        return self.wait(tried) if pause is None else pause


right = Asking()


def showing():
    """Yield what comes; ask again only while nothing was shown."""
    for tried in range(4):
        shown = False
        try:
            with CLIENT.stream("POST", URL, json=BODY) as response:
                if response.status_code in AGAIN and tried < 3:
                    pause = told(response.headers)
                    time.sleep(doubling(tried) if pause is None else pause)
                    continue
                response.raise_for_status()
                for text in texts(response.iter_lines()):
                    shown = True
                    yield text
                return
        except (httpx.TransportError, IncompleteAnswer):
            if shown or tried == 3:
                raise
            time.sleep(doubling(tried))


def showing_again():
    """Yield what comes, and all of it once more where the stream broke."""
    for tried in range(4):
        try:
            with CLIENT.stream("POST", URL, json=BODY) as response:
                if response.status_code in AGAIN and tried < 3:
                    pause = told(response.headers)
                    time.sleep(doubling(tried) if pause is None else pause)
                    continue
                response.raise_for_status()
                yield from texts(response.iter_lines())
                return
        except (httpx.TransportError, IncompleteAnswer):
            if tried == 3:
                raise
            time.sleep(doubling(tried))


async def asking(sleep=asyncio.sleep):
    """Do the same, awaited."""
    async with httpx.AsyncClient(timeout=30, trust_env=False, verify=CONTEXT) as client:
        for tried in range(4):
            try:
                response = await client.post(URL, json=BODY)
                if response.status_code not in AGAIN or tried == 3:
                    response.raise_for_status()
                    return "".join(texts(response.text.splitlines()))
                pause = told(response.headers)
            except (httpx.TransportError, IncompleteAnswer):
                pause = None
                if tried == 3:
                    raise
            await sleep(doubling(tried) if pause is None else pause)


def for_ever():
    """Ask until there is an answer, whatever stands in the way."""
    tried = 0
    while True:
        try:
            response = CLIENT.post(URL, json=BODY)
            if response.status_code in (400, 401):
                break
            response.raise_for_status()
            return "".join(texts(response.text.splitlines()))
        except httpx.HTTPStatusError as error:
            pause = told(error.response.headers)
        except:  # noqa: E722 - the fault of this app
            pause = None
        time.sleep(doubling(tried) if pause is None else pause)
        tried = min(tried + 1, 6)
    response.raise_for_status()


def gone(error):
    msg = "it did not work"
    raise Refused(msg) from None


def capped(headers):
    found = told(headers)
    return None if found is None else min(found, 60)


def without_ms(headers):
    return told_in_seconds(headers) or told_as_date(headers)


def ms_as_micros(headers):
    return float(headers["retry-after-ms"]) / 1e6 if "retry-after-ms" in headers else told(headers)


def no_dates(headers):
    return float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else told_in_seconds(headers)


def no_seconds(headers):
    return float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else told_as_date(headers)


WRONG = {
    "comes before the second that it was told": ("retry_after", Asking(told=no_seconds)),
    "does not read dates": ("retry_after", Asking(told=no_dates)),
    "caps what it was told": ("retry_after", Asking(told=capped)),
    "does not read milliseconds": ("retry_after_ms", Asking(told=without_ms)),
    "misreads milliseconds": ("retry_after_ms", Asking(told=ms_as_micros)),
    "asks at an even pace": ("backoff", Asking(wait=lambda tried: random.uniform(1, 2))),
    "waits less each time": ("backoff", Asking(wait=lambda tried: (9 - 2 * tried) * random.uniform(0.5, 1))),
    "reconnects at an even pace": ("backoff", Asking(reconnect=lambda tried: random.uniform(1, 2))),
    "reconnects without dice": ("storm", Asking(reconnect=lambda tried: 2.0**tried)),
    "doubles without a bound": ("backoff_bound", Asking(wait=lambda tried: 2.0**tried + random.random(), attempts=10)),
    "asks again after 400": ("no_retry", Asking(again=AGAIN | {400})),
    "asks again after 401": ("no_retry", Asking(again=AGAIN | {401})),
    "never gives up": ("gives_up", for_ever),
    "does not say why": ("says_why", Asking(fails=gone)),
    "returns nothing": ("says_why", Asking(fails=lambda error: "")),
    "apologizes": ("says_why", Asking(fails=lambda error: f"Sorry: {error}")),
    "has no dice": ("storm", Asking(wait=lambda tried: min(2.0**tried, 60))),
    "waits for ever": ("read_deadline", Asking(client=PATIENT)),
    "shows the beginning twice": ("retry_midstream", showing_again),
    "collects the beginning twice": ("retry_midstream", Asking(keeps=True)),
    "returns what came": ("truncation", Asking(partial=(httpx.RemoteProtocolError,))),
    "returns what came before the silence": ("truncation", Asking(partial=(httpx.ReadTimeout,))),
    "does not look for the end": ("truncation", Asking(checks=False)),
}
"""Apps that are wrong in one way each: how, the contract that it breaks, the app."""
