"""`check_retries`: apps that ask again rightly, apps that do one thing wrong each, and how both are told."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from time import monotonic, sleep
from types import ModuleType

import httpx
import openai
import pytest
import retrying
import trio
from places import ROOT
from retrying import BODY, CLIENT, CONTEXT, URL, WRONG, Asking, IncompleteAnswer, right, texts

from fakellm import Script
from fakellm.contracts import CATALOGUE, assert_resilient, check_retries
from fakellm.contracts.catalogue import chosen
from fakellm.contracts.retries import dice
from fakellm.errors import BrokenContractError, ContractUsageError

NAMES = [contract.name for contract in chosen(None, "app")]
TOLD = "429, Retry-After: 7, then 14"


def check(app, *contracts, **options):
    return check_retries(app, api="openai", contracts=contracts or None, **options)


def names(verdicts):
    return [verdict.contract.name for verdict in verdicts]


def line(report, trouble):
    """Return what a report says of a trouble."""
    return re.search(rf"^  {re.escape(trouble)} +(.*)$", str(report), re.MULTILINE)[1]


# -- what is right, and what is wrong -------------------------------------------------------------------------------


def test_an_app_that_does_all_rightly_keeps_all():
    report = check(right)

    assert names(report.passed) == NAMES
    assert line(report, TOLD) == "asked at 0, 7.0, 21.0 s, returned 'One two three four.' at 21.0 s"
    assert line(report, "429, Retry-After: a date") == "asked at 0, 30.0 s, returned 'One two three four.' at 30.0 s"
    assert line(report, "429, Retry-After: 180").startswith("asked at 0, 180.0 s")
    assert line(report, "429, retry-after-ms: 2500").startswith("asked at 0, 2.5 s")
    assert line(report, "500, for ever") == "asked at 0, 0.985, 2.955, 6.895 s, raised HTTPStatusError at 6.895 s"
    assert line(report, "401, for ever") == "asked at 0 s, raised HTTPStatusError at 0 s"
    assert line(report, "silence after the first chunk, for ever").startswith("asked at 0, 30.985, 62.955, 96.895 s")


@pytest.mark.exhaustive
def test_what_was_found_says_where_the_rule_stands():
    report = check(right, "retry_after", "storm")

    assert "kept     retry_after: a retry waits at least as long as the provider said (RFC 9110, 10.2.3)" in str(report)
    assert all(CATALOGUE[name].source for name in set(NAMES) - {"truncation", "retry_midstream"})


@pytest.mark.exhaustive
def test_the_same_verdicts_twice():
    assert str(check(right)) == str(check(right))
    assert str(check(WRONG["asks at an even pace"][1])) == str(check(WRONG["asks at an even pace"][1]))


FEW = ("does not read dates", "asks at an even pace", "has no dice", "does not look for the end")


@pytest.mark.parametrize("how", [h if h in FEW else pytest.param(h, marks=pytest.mark.exhaustive) for h in WRONG])
def test_an_app_that_is_wrong_in_one_way_breaks_one_contract(how):
    contract, app = WRONG[how]

    report = check(app, *([contract] if how in FEW else []))

    assert names(report.failed) == [contract], str(report)


@pytest.mark.exhaustive
def test_an_app_that_is_wrong_breaks_nothing_else():
    for how in FEW:
        contract, app = WRONG[how]
        assert names(check(app).failed) == [contract], how


@pytest.mark.exhaustive
def test_a_generator_that_stops_asking_once_it_has_shown_something():
    report = check(retrying.showing)

    assert not report.failed
    assert names(report.skipped) == ["retry_midstream"]


@pytest.mark.exhaustive
def test_one_that_shows_all_of_it_again():
    report = check(retrying.showing_again, "retry_midstream")

    assert "it delivered 'One One two three four.', which says the beginning again" in str(report)


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_awaited_apps_wait_on_the_loop(backend):
    async def app():
        return await retrying.asking(asyncio.sleep if backend == "asyncio" else trio.sleep)

    report = check(app, "retry_after", "backoff", "read_deadline", "gives_up", backend=backend)

    assert not report.failed
    assert line(report, TOLD).startswith("asked at 0, 7.0, 21.0 s")
    assert line(report, "silence before the headers, for ever").startswith("asked at 0, 30.985")


@pytest.mark.exhaustive
def test_an_awaited_app_without_a_deadline_waits_for_ever():
    async def app():
        async with httpx.AsyncClient(timeout=None, trust_env=False, verify=CONTEXT) as client:
            return (await client.post(URL, json={**BODY, "stream": False})).raise_for_status().json()

    report = check(app, "read_deadline")

    assert names(report.failed) == ["read_deadline"]
    assert "waits for ever" in line(report, "silence before the headers, for ever")


@pytest.mark.exhaustive
def test_an_awaited_generator():
    async def app():
        client = httpx.AsyncClient(timeout=30, trust_env=False, verify=CONTEXT)
        async with client, client.stream("POST", URL, json=BODY) as response:
            response.raise_for_status()
            async for text in response.aiter_lines():
                for said in texts([text], checks=False):
                    yield said

    report = check(app, "truncation", "says_why")

    assert names(report.failed) == ["truncation"]
    assert "it returned 'One ', as if that were the whole answer" in str(report)


# -- a cut that is raised is no cut that is taken -------------------------------------------------------------------


def once(**fields):
    return Asking(attempts=1, **fields)


@pytest.mark.exhaustive
def test_to_raise_is_to_keep():
    report = check(once(), "truncation")

    assert names(report.passed) == ["truncation"]
    assert line(report, "ended in good order after the first chunk, once").endswith("raised IncompleteAnswer at 0 s")


@pytest.mark.exhaustive
def test_to_ask_again_for_the_whole_is_to_keep():
    report = check(Asking(attempts=2), "truncation")

    assert names(report.passed) == ["truncation"]
    assert "returned 'One two three four.'" in line(report, "ended in good order after the first chunk, once")


@pytest.mark.exhaustive
def test_a_mark_behind_what_came_is_to_keep():
    def app():
        said = ""
        try:
            for text in retrying.showing():
                said += text
        except (httpx.TransportError, IncompleteAnswer):
            said += " [interrupted]"
            if said == " [interrupted]":
                raise
        return said

    assert names(check(app, "truncation").passed) == ["truncation"]


@pytest.mark.exhaustive
def test_a_result_that_holds_the_error_tells_of_it():
    def app():
        try:
            return {"text": right(), "error": None}
        except Exception as error:
            return {"text": None, "error": error}

    assert not check(app, "says_why", "truncation").failed


@pytest.mark.exhaustive
def test_an_app_says_how_its_callers_are_told():
    def app():
        try:
            return {"text": right()}
        except Exception:
            return {"text": "", "failed": True}

    assert names(check(app, "says_why").failed) == ["says_why"]
    assert names(check(app, "says_why", "truncation", incomplete=lambda result: result.get("failed")).failed) == []


# -- what cannot be seen is skipped ---------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_an_app_that_never_asks_again_is_judged_on_the_rest():
    report = check(once())

    assert not report.failed
    assert names(report.skipped) == [
        "retry_midstream", "retry_after", "retry_after_ms", "backoff", "backoff_bound", "storm"
    ]  # fmt: skip
    assert report["retry_after"].detail == "it does not ask again when it is told to come later"


@pytest.mark.exhaustive
def test_one_retry_says_nothing_of_growth():
    assert check(Asking(attempts=2), "backoff", "storm")["backoff"].status == "skipped"


@pytest.mark.exhaustive
def test_dice_that_are_not_ours_are_noticed():
    free = random.SystemRandom()

    report = check(Asking(wait=lambda tried: free.uniform(1, 2)), "backoff", "storm", only="500, for ever")

    assert report["backoff"].status in ("skipped", "passed")  # as the dice fall
    assert report["storm"].status == "passed"


@pytest.mark.exhaustive
def test_results_that_tell_nothing():
    def quiet():
        right()

    def swallows():
        with contextlib.suppress(Exception):
            right()

    assert check(quiet, "says_why", only="503, for ever")["says_why"].status == "passed"
    for contract, trouble in (("says_why", "503, for ever"), ("truncation", "reset after the first chunk, for ever")):
        verdict = check(swallows, contract, "gives_up", only=trouble)[contract]
        assert verdict.status == "skipped"
        assert verdict.detail.startswith("its results tell nothing: it comes to None for the first chunk of the answer")


def test_reasons_for_skipping():
    report = check(WRONG["has no dice"][1], "storm", "no_retry", skip={"storm": "there is one client"})

    assert report["storm"].detail == "there is one client"
    assert not report.failed


# -- what an app says of itself ---------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "promise, contract, what",
    [
        ({"attempts": 3}, "gives_up", "it asked 4 times, where attempts=3 was promised"),
        ({"gives_up": 100}, "gives_up", "it gave up after 126.895 s, where gives_up=100 was promised"),
        ({"deadline": 20}, "read_deadline", "it waited 30.0 s in silence, where deadline=20 was promised"),
        ({"longest_wait": 3}, "backoff_bound", "it waits 3.94 s before it asks again, and no more than 3 s is allowed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_promise_that_is_not_kept(promise, contract, what):
    assert what in check(right, contract, **promise)[contract].detail


@pytest.mark.exhaustive
def test_promises_that_are_kept():
    report = check(right, "gives_up", "read_deadline", attempts=4, gives_up=130, deadline=30)

    assert not report.failed


def test_what_an_app_has_shown_may_be_asked_for():
    shown = []

    def app():
        shown.clear()
        for text in retrying.showing_again():
            shown.append(text)

    report = check(app, "retry_midstream", delivered=lambda: list(shown))

    assert names(report.failed) == ["retry_midstream"]


@pytest.mark.exhaustive
def test_an_app_that_needs_an_answer_of_its_own():
    import json

    def app():
        return json.loads(right())

    report = check(app, "gives_up", script=Script('{"a": ', "1}"))

    assert names(report.passed) == ["gives_up"]
    cut = check(Asking(checks=False), "truncation", script=Script('{"a": ', "1}"))
    assert """it returned '{"a": ', as if that were the whole answer""" in cut["truncation"].detail
    cut = check(Asking(checks=False), "truncation", script=Script("an only chunk"))
    assert "it returned 'an onl', as if that were the whole answer" in cut["truncation"].detail
    with pytest.raises(ContractUsageError, match=r"fails where nothing is wrong(?s:.*)script=Script"):
        check(app)


# -- whose retries are whose ------------------------------------------------------------------------------------------


def test_the_provider_is_found():
    report = check_retries(right, contracts=["no_retry"])

    assert names(report.passed) == ["no_retry"]


def test_a_server_of_ones_own():
    def app():
        return texts_of(CLIENT.post("http://localhost:8000/v1/chat/completions", json=BODY))

    report = check_retries(app, api="openai", hosts=["localhost:8000"], contracts=["no_retry"])

    assert names(report.passed) == ["no_retry"]


def texts_of(response):
    return "".join(texts(response.raise_for_status().text.splitlines()))


@pytest.mark.exhaustive
def test_another_model_is_no_retry():
    def app():
        response = CLIENT.post(URL, json=BODY)
        if response.is_error:
            response = CLIENT.post(URL, json={**BODY, "model": "another"})
        return texts_of(response)

    report = check(app)

    assert not report.failed
    assert line(report, "400, for ever") == "asked at 0 s, returned 'One two three four.' at 0 s"


@pytest.mark.exhaustive
def test_a_new_key_is_no_retry():
    def app():
        for key in ("old", "new"):
            response = CLIENT.post(URL, json=BODY, headers={"authorization": f"Bearer {key}"})
            if response.status_code != 401:
                break
        return texts_of(response)

    assert names(check(app, "no_retry").passed) == ["no_retry"]


@pytest.mark.exhaustive
def test_what_is_asked_beside_is_no_retry():
    async def app():
        async with httpx.AsyncClient(timeout=30, trust_env=False, verify=CONTEXT) as client:
            bodies = [{**BODY, "messages": [{"role": "user", "content": part}]} for part in ("one", "two", "three")]
            answers = await asyncio.gather(*(client.post(URL, json=body) for body in bodies))
        return "".join(map(texts_of, answers))

    report = check(app, "no_retry", "gives_up", only="400, for ever")

    assert not report.failed
    assert line(report, "400, for ever") == "asked at 0 s, raised HTTPStatusError at 0 s"


def test_a_breaker_closes_between_two_runs():
    opened = -1e9

    def app():
        nonlocal opened
        if time.monotonic() - opened < 60:
            raise Gone("the breaker is open")
        try:
            return once()()
        except httpx.HTTPStatusError:
            opened = time.monotonic()
            raise

    assert not check(app, "no_retry", "says_why").failed


def test_an_app_that_keeps_its_answers_is_refused():
    keeps = cache(right)

    with pytest.raises(ContractUsageError, match=r"asked nothing when it was run again(?s:.*)to do: .*cache"):
        check(lambda: keeps(), "no_retry")


# -- why --------------------------------------------------------------------------------------------------------------


class Gone(Exception):
    pass


def fails(make):
    def failing(error):
        raise make(error) from None

    return Asking(attempts=1, fails=failing)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "make, is_said",
    [
        (lambda error: Gone("it did not work"), False),
        (lambda error: Gone("HTTP 4290"), False),
        (lambda error: Gone("rate limit reached, come back later"), True),
        (lambda error: SystemExit("error: 429"), True),
        (lambda error: Gone(error), True),
        (lambda error: ExceptionGroup("all of them", [error]), True),
        (lambda error: Gone(f"{type(error).__name__}: {error}"), True),
    ],
    ids=["nothing", "another number", "in words", "as a command", "an argument", "a group", "what it was"],
)
def test_an_error_says_why_if_its_reason_is_found_in_it(make, is_said):
    assert (check(fails(make), "says_why", only="429, for ever")["says_why"].status == "passed") is is_said


@pytest.mark.exhaustive
def test_an_error_after_the_loop_has_lost_its_reason():
    def app():
        for _ in range(3):
            try:
                return right()
            except Exception:
                time.sleep(1)
        raise Gone("gave up")

    assert "raised Gone('gave up'), which does not say what was wrong" in str(
        check(app, "says_why", only="503, for ever")
    )


@pytest.mark.exhaustive
def test_the_last_attempt_of_tenacity_is_looked_into():
    tenacity = pytest.importorskip("tenacity")
    app = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_exponential_jitter())(once())

    report = check(app, "says_why", "backoff", "storm", "no_retry")

    assert names(report.failed) == ["no_retry"]
    assert "raised RetryError" in line(report, "429, for ever")


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_names_that_were_taken_of_the_machines_time_are_reached(monkeypatch):
    began = monotonic()

    def app():
        for tried in range(3):
            response = CLIENT.post(URL, json=BODY)
            if response.status_code != 429 or tried == 2:
                return texts_of(response)
            until = httpx_date(response.headers.get("retry-after", ""))
            start, asked = monotonic(), datetime.now(UTC)
            sleep(3600 if until is None else (until - asked).total_seconds())
            assert monotonic() - start >= 14, "the clock of the thread"
        return None

    report = check(app, "retry_after")

    assert names(report.passed) == ["retry_after"]
    assert line(report, "429, Retry-After: a date").startswith("asked at 0, 30.0 s")
    assert line(report, TOLD).startswith("asked at 0, 3600.0, 7200.0 s")
    assert monotonic() - began < 60
    assert sleep is time.sleep is not None
    assert datetime.now(UTC).__class__ is datetime


def httpx_date(value):
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(value) if "GMT" in value else None


@pytest.mark.exhaustive
def test_a_library_that_is_loaded_while_it_runs_is_reached_too(monkeypatch):
    source = (
        "from datetime import datetime\nfrom time import sleep\ndef wait(s):\n    a = datetime.now()\n    sleep(s)\n"
    )
    source += "    return (datetime.now() - a).total_seconds()\n"
    waited = []

    def app():
        if "late_library" not in sys.modules:
            module = ModuleType("late_library")
            exec(source, vars(module))
            monkeypatch.setitem(sys.modules, "late_library", module)
        response = CLIENT.post(URL, json=BODY)
        if response.status_code == 429:
            waited.append(sys.modules["late_library"].wait(200))
            response = CLIENT.post(URL, json=BODY)
        return texts_of(response)

    check(app, "retry_after")

    assert set(waited) == {200.0}
    assert sys.modules["late_library"].datetime is datetime
    assert sys.modules["late_library"].sleep is time.sleep


@pytest.mark.exhaustive
def test_nothing_is_asked_of_what_modules_hold(monkeypatch):
    asked = []

    class StandIn:
        @property
        def __class__(self):
            asked.append("its class, so it loads what it stands for")
            return StandIn

    module = ModuleType("lazy_library")
    module.client = StandIn()
    monkeypatch.setitem(sys.modules, "lazy_library", module)

    check(right, "no_retry", only="400, for ever")

    assert not asked


@pytest.mark.exhaustive
def test_a_loop_that_the_app_makes_itself():
    def app():
        return asyncio.run(retrying.asking())

    report = check(app, "retry_after", only=TOLD)

    assert not report.failed
    assert line(report, TOLD).startswith("asked at 0, 7.0, 21.0 s")


@pytest.mark.exhaustive
def test_threads_that_the_app_starts_are_on_the_clock_too():
    def app():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(right).result()

    async def awaited():
        return await asyncio.to_thread(right)

    for one in (app, awaited):
        report = check(one, "retry_after", only=TOLD)
        assert not report.failed
        assert line(report, TOLD).startswith("asked at 0, 7.0, 21.0 s")


@pytest.mark.exhaustive
def test_a_thread_that_the_app_starts_where_another_has_ended_is_on_the_clock_too():
    """The system gives the number of a thread that has ended to the next one."""
    ends = threading.Event()
    there = threading.Thread(target=ends.wait)
    there.start()

    def app():
        ends.set()
        there.join()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(right).result()

    assert line(check(app, "retry_after", only=TOLD), TOLD).startswith("asked at 0, 7.0, 21.0 s")


@pytest.mark.exhaustive
def test_what_waits_in_real_time_is_no_verdict():
    def app():
        response = CLIENT.post(URL, json=BODY)
        if response.status_code == 429:
            threading.Event().wait(7)
            response = CLIENT.post(URL, json=BODY)
        return texts_of(response)

    with pytest.raises(
        ContractUsageError, match=r"the app waits in real time(?s:.*)Event\(\)\.wait\(7\)(?s:.*)to do: "
    ):
        check(app, "retry_after", patience=1.5)


@pytest.mark.exhaustive
def test_it_may_be_asked_for_in_a_test_in_virtual_time(virtual_clock):
    assert_resilient(once(), api="openai", contracts=["no_retry"])

    assert virtual_clock.now == 0


# -- dice -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 0.97])
def test_loaded_dice(value):
    with dice.put_back():
        dice.load(value)
        first = [random.random() for _ in range(20)]
        many = [random.randint(0, 4) for _ in range(1000)]

    assert first == [pytest.approx(value, abs=1e-6)] * 20
    assert set(many) == {0, 1, 2, 3, 4}


@pytest.mark.exhaustive
def test_dice_are_put_back():
    random.seed(1)
    state = random.getstate()

    check(right, "storm", only="429, for ever")

    assert random.getstate() == state


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "wait, grows",
    [
        (lambda tried: random.uniform(0, 2**tried), True),  # full jitter
        (lambda tried: 2**tried * (1 - random.random() / 4), True),
        (lambda tried: 2**tried + random.random(), True),
        (lambda tried: [0, 1, 1, 2, 3][tried] + random.random(), True),
        (lambda tried: tried + 1, True),
        (lambda tried: 3, False),
        (lambda tried: random.uniform(0, 10), False),
        (lambda tried: 1 + random.random() * 3, False),
    ],
    ids=["full jitter", "less", "more", "fibonacci", "linear", "constant", "any", "constant and more"],
)
def test_growth_is_told_from_luck(wait, grows):
    report = check(Asking(wait=wait, attempts=5), "backoff", only="500, for ever")

    assert report["backoff"].status == ("passed" if grows else "failed")


@pytest.mark.exhaustive
def test_what_is_left_of_the_time_may_be_less_than_the_wait_before():
    assert (
        check(Asking(wait=lambda tried: [1, 2, 4, 0.5][tried], attempts=5), "backoff", only="500, for ever")[
            "backoff"
        ].status
        == "passed"
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("spread, is_storm", [(0, True), (0.01, True), (0.1, False), (1, False)])
def test_a_storm_is_told_by_how_far_clients_lie_apart(spread, is_storm):
    report = check(
        Asking(wait=lambda tried: 2**tried * (1 - spread * random.random())), "storm", clients=20, only="503, for ever"
    )

    assert (report["storm"].status == "failed") is is_storm


# -- how it is told ---------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_failure_says_what_when_and_how_to_see_it_again():
    def ask():
        return replace(right, told=lambda headers: 1)()

    detail = check(ask, "retry_after")["retry_after"].detail

    assert detail.split("\n") == [
        "retry_after: a retry waits at least as long as the provider said (RFC 9110, 10.2.3)",
        "  broken:    it was told to wait 7.0 s, and asked again after 1.0 s",
        f"  trouble:   {TOLD}",
        "  asked at:  0, 1.0, 2.0 s",
        "  ended:     returned 'One two three four.' at 2.0 s",
        f"  replay:    check_retries(ask, api='openai', only={TOLD!r})",
    ]


@pytest.mark.exhaustive
def test_the_line_that_replays_it():
    report = check(replace(right, told=lambda headers: 1), "retry_after", only=TOLD)

    assert names(report.failed) == ["retry_after"]
    assert len(report.runs) == 1


@pytest.mark.exhaustive
def test_one_trouble_leaves_the_rest_unjudged():
    report = check(right, only="401, for ever")

    assert names(report.passed) == ["no_retry", "gives_up", "says_why"]
    assert not report.failed


@pytest.mark.exhaustive
def test_clients_whose_connection_is_refused_storm_by_themselves():
    _, app = WRONG["reconnects without dice"]

    assert "trouble:   connection refused, for ever" in check(app, "storm")["storm"].detail


@pytest.mark.exhaustive
def test_a_storm_shows_its_clients():
    assert (
        "clients:   asked again at 1.0, 1.0, 1.0 s"
        in check(WRONG["has no dice"][1], "storm", clients=3, only="429, for ever")["storm"].detail
    )


@pytest.mark.exhaustive
def test_in_pytest_it_is_one_line(pytester):
    pytester.makepyfile(
        test_app="""
        import time
        import httpx
        from fakellm.contracts import assert_resilient

        def ask():
            for _ in range(3):
                response = httpx.post("https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": []})
                if response.status_code != 429:
                    break
                time.sleep(1)
            return response.raise_for_status().json()["choices"][0]["message"]["content"]

        def test_resilience():
            assert_resilient(ask, api="openai", contracts=["retry_after", "no_retry"])
        """
    )

    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *BrokenContractError: ask: 1 failed, 1 passed, 0 skipped",
            "E *BROKEN   retry_after: a retry waits at least as long as the provider said (RFC 9110, 10.2.3)",
            "E *broken:    it was told to wait 7.0 s, and asked again after 1.0 s",
            f"E *replay:    check_retries(ask, api='openai', only={TOLD!r})",
            "E *kept     no_retry: *",
            f"E *{TOLD}*asked at 0, 1.0, 2.0 s, *",
        ]
    )
    result.stdout.no_fnmatch_line("*check.py*")


@pytest.mark.exhaustive
def test_assert_resilient_raises_what_is_broken():
    with pytest.raises(BrokenContractError) as caught:
        assert_resilient(WRONG["has no dice"][1], api="openai", contracts=["storm"], only="429, for ever")

    assert caught.value.contract == "storm"


@pytest.mark.exhaustive
def test_the_report_on_the_page_is_what_the_block_before_it_prints(capsys):
    page = (ROOT / "docs" / "retries.md").read_text()
    block, shown = re.search(r"## The report.*?```python\n(.*?)```.*?```text\n(.*?)```", page, re.DOTALL).groups()

    exec(compile(block, "block", "exec"), {"__name__": "block"})

    printed = capsys.readouterr().out
    for part in shown.split("...\n"):
        assert part in printed


# -- how it is asked for wrongly ------------------------------------------------------------------------------------


def refuses(match, app=right, **options):
    with pytest.raises(ContractUsageError, match=match):
        check_retries(app, **{"api": "openai", **options})


@pytest.mark.exhaustive
def test_what_proves_nothing_is_refused():
    refuses("an app is a function that asks its provider, such as", app="ask")
    refuses("there is no api 'opanai'; there are 'openai'", api="opanai")
    refuses("the app asked no model of anthropic(?s:.*)hosts=", app=lambda: "42", api="anthropic")
    refuses("the app fails before it asks a provider(?s:.*)KeyError", app=lambda: {}["a"])
    refuses("there is no contract 'bakoff'; did you mean backoff", contracts=["bakoff"])
    refuses("there is no trouble '500'; did you mean '500, for ever'", only="500")
    refuses("say why 'storm' is skipped", skip={"storm": ""})
    refuses("skip maps the name of a contract to the reason", skip=["storm"])
    refuses("incomplete is a function, such as .*, not True", incomplete=True)
    refuses("delivered is a function, such as delivered=lambda: list.shown., not .1.", delivered=[1])
    refuses("text is a function", text="content")
    refuses("clients is how many fail at once", clients=1)
    refuses("attempts is a number above 0, of asks, not 0", attempts=0)
    refuses("deadline is a number above 0, of seconds, not '5'", deadline="5")
    refuses("backend='asyncio' or 'trio', not 'curio'", backend="curio")
    refuses("script is the whole answer, such as", script="an answer")
    refuses("has no part that could come before the rest", script=Script("a"))


def test_inside_of_a_loop_it_says_so():
    async def main():
        check(right)

    with pytest.raises(ContractUsageError, match="an event loop runs here"):
        asyncio.run(main())


# -- SDKs -------------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("stream", [False, True])
def test_openais_client(stream):
    client = openai.OpenAI(api_key="none")

    def app():
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=stream)
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer) if stream else answer

    report = check(app, "retry_after", "truncation")

    assert names(report.failed) == (["truncation"] if stream else [])
    assert line(report, TOLD).startswith("asked at 0, 7.0, 21.0 s")
