"""Where gateways are told: tapes, scenario files, servers, commands, markers; and in sweeps of faults."""

from __future__ import annotations

import httpx
import openai
import pytest
import requests
from click.testing import CliRunner
from gateways import TAPES
from raw_client import Client, asking
from vectors import each

from fakellm import FakeProvider, Finish, Pause, Script, disconnect, every_fault
from fakellm.cassette import Tape
from fakellm.cli.commands import app
from fakellm.clock import InstantClock, VirtualClock
from fakellm.contracts import check_client, check_faults
from fakellm.errors import ContractUsageError, ScenarioError
from fakellm.http import playing, transport
from fakellm.server import Scenario, Server

BREAKS = "RemoteProtocolError" if openai.__version__ < "3" else "APIConnectionError"
"""What the SDK raises where a body breaks off: before 3 it lets through what httpx raises."""

CUT = Script("Hel", Pause(0.1), "lo", disconnect("close"))


def test_a_server_stands_behind_gateways():
    provider = FakeProvider("openai").otherwise(CUT)
    for behind, broken in (("nginx", False), (["nginx-1.1"], True)):
        with Server([provider], clock=InstantClock(), behind=behind) as server:
            client, found = Client(server), []
            client.send(asking())
            status, headers = client.head()
            assert (status, headers["server"]) == (200, "nginx/1.22.1")
            if broken:
                with pytest.raises(ValueError, match="invalid literal"):  # the connection ends where a size would be
                    client.chunks(found)
                assert len(found) == 3
            else:
                assert len(client.chunks()) == 1
            client.close()


def test_a_scenario_names_gateways():
    text = (
        "behind: nginx\nproviders:\n  - openai\n  - {name: anthropic, behind: [haproxy, caddy]}\notherwise: {text: a}"
    )
    names = [[one.name for one in provider.gateways] for provider in Scenario.read(text).providers()]
    assert names == [["nginx"], ["haproxy", "caddy"]]
    openai, _ = Scenario.read(text.replace("- openai", "- {name: openai, behind: []}")).providers()
    assert openai.gateways == ()
    with pytest.raises(ScenarioError, match=r"line 1, behind: there is no gateway 'nginks'; did you mean 'nginx'"):
        Scenario.read("behind: nginks\notherwise: {text: a}")
    with pytest.raises(ScenarioError, match=r"behind: 7 cannot stand here; write the name of a gateway"):
        Scenario.read("behind: 7\notherwise: {text: a}")


@each(
    ("tell", "message"),
    [
        (lambda: Tape("none.yaml", behind=3), "a gateway is told by its name, .* not 3"),
        (lambda: Server([], behind="litellm, nginx"), "'litellm, nginx' are several gateways in one text; name each"),
        (lambda: Server([], behind=None), "a gateway is told by its name, .* not None"),
        (lambda: FakeProvider("openai").behind(["nginx"]), r"; write behind\(\*\['nginx'\]\)"),
    ],
)
def test_what_is_no_gateway_is_told(tell, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tell()


@each("command", [["serve"], ["replay", str(TAPES)]], ids=["serve", "replay"])
def test_commands_name_gateways(command):
    result = CliRunner().invoke(app, [*command, "--behind", "nginks"], standalone_mode=False)
    assert result.return_value == 2
    assert "fakellm: --behind: there is no gateway 'nginks'; did you mean 'nginx'?" in result.output


def test_a_tape_plays_behind_gateways():
    tape = Tape(TAPES / "lcp-interrupted.yaml", mode="none", behind=["litellm"])
    with playing(tape):
        asked = tape._cassette.data[0][0]
        with httpx.stream(asked.method, asked.uri, content=asked.body, headers=asked.headers) as response:
            body = b"".join(response.iter_raw())
    assert b'"finish_reason":"stop"' in body
    assert response.headers["x-litellm-version"] == "1.108.7"
    with pytest.raises(ValueError, match="no gateway 'nginks'"):
        Tape("a.yaml", behind="nginks")


def test_a_page_of_a_gateway_has_its_own_length():
    tape = Tape(TAPES / "vllm-error-schema.yaml", mode="none", behind="litellm")
    with playing(tape):
        asked = tape._cassette.data[0][0]
        answer = requests.request(asked.method, asked.uri, data=asked.body, headers=dict(asked.headers))
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "500")


@pytest.mark.exhaustive
def test_a_marker_plays_a_tape_behind_gateways(pytester):
    (pytester.mkdir("cassettes") / "t.yaml").write_bytes((TAPES / "lcp-error-long.yaml").read_bytes())
    pytester.makepyfile("""
        import json, httpx, pytest

        @pytest.mark.cassette("t.yaml", mode="none", behind="any-llm")
        def test_it(cassette):
            asked = cassette._cassette.data[0][0]
            answer = httpx.request(asked.method, asked.uri, content=asked.body, headers=asked.headers)
            assert answer.text == "data: [DONE]\\n\\n"
    """)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


# -- sweeps of faults -------------------------------------------------------------------------------------

ANSWER = Script("one ", "two ", "three")


def asks(faulty, *, looks):
    """Ask OpenAI's client; one that looks wants a finish reason."""
    provider = FakeProvider("openai", clock=VirtualClock()).otherwise(faulty)
    client = openai.OpenAI(api_key="k", max_retries=0, http_client=httpx.Client(transport=transport(provider, httpx)))
    text, reason = "", None
    asked = [{"role": "user", "content": "?"}]
    for chunk in client.chat.completions.create(model="m", messages=asked, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = reason or choice.finish_reason
    if looks and reason in (None, "error"):
        raise ValueError(text)
    return text


def careful(faulty):
    return asks(faulty, looks=True)


def careless(faulty):
    return asks(faulty, looks=False)


@pytest.mark.parametrize("name", ["nginx", "litellm", pytest.param("mlflow", marks=pytest.mark.exhaustive)])
def test_a_careful_app_stands_behind_gateways(name):
    report = check_faults(careful, ANSWER, behind=name, kinds=["disconnect", "provider_error"])
    assert not report.failed
    assert f"behind {name}" in str(report)


def test_what_is_cut_ends_in_order_there():
    plain, behind = (
        check_faults(careless, ANSWER, kinds="disconnect", behind=behind, only=(1, disconnect("close")))
        for behind in ((), "nginx")
    )
    assert not plain.failed
    assert [verdict.contract.name for verdict in behind.failed] == ["truncation"]
    assert "close after 'one ', behind nginx" in str(behind)


def test_what_nobody_can_tell_is_not_asked():
    swept = check_faults(careful, ANSWER, kinds="disconnect", behind="litellm")
    assert str(swept).startswith("careful, 8 faults behind litellm: 0 failed")
    hidden = check_faults(careful, ANSWER, behind="litellm", only=(1, disconnect("end")))
    assert [verdict.contract.name for verdict in hidden.failed] == ["truncation"]
    with pytest.raises(ContractUsageError, match="behind portkey and litellm each of these faults arrives as a whole"):
        every_fault(Script("one", Finish()), kinds="disconnect", behind=[_only_ends(), "litellm"])


def _only_ends():
    from dataclasses import replace

    from fakellm.wire import GATEWAYS

    return replace(GATEWAYS["portkey"], drop="whole", reset="whole")


@every_fault(ANSWER, kinds="disconnect", behind=["haproxy", "nginx"])
def test_a_sweep_tells_its_fakes(faulty, fake_openai):
    fake_openai.otherwise(faulty)
    with pytest.raises((openai.OpenAIError, ValueError, httpx.HTTPError)):
        text, reason = "", None
        asked = [{"role": "user", "content": "?"}]
        for chunk in openai.OpenAI(max_retries=0).chat.completions.create(model="m", messages=asked, stream=True):
            for choice in chunk.choices:
                text, reason = text + (choice.delta.content or ""), reason or choice.finish_reason
        if reason is None:
            raise ValueError(text)
    assert fake_openai.calls[-1].status == 200


def test_a_tape_is_broken_behind_gateways():
    tape = Tape(TAPES / "vllm-tools-parallel.yaml", mode="none")
    ended = []

    def app(faulty):
        with faulty.playing():
            asked = faulty._cassette.data[0][0]
            with httpx.stream(asked.method, asked.uri, content=asked.body, headers=asked.headers) as response:
                body = b"".join(response.iter_raw())
        ended.append(b'"finish_reason":"tool_calls"' in body)
        if not ended[-1]:
            raise ValueError(body)
        return body

    assert not check_faults(app, tape, only=(1, disconnect("close")), behind="nginx").failed
    assert tape.gateways == ()
    assert ended == [True, True, False]  # the whole one, half of it that ends like it, and the fault


# -- clients ----------------------------------------------------------------------------------------------


def make():
    client = openai.OpenAI(api_key="k", max_retries=0)

    def ask(text):
        said, reason = "", None
        asked = [{"role": "user", "content": text}]
        for chunk in client.chat.completions.create(model="m", messages=asked, stream=True):
            for choice in chunk.choices:
                said, reason = said + (choice.delta.content or ""), reason or choice.finish_reason
        if reason is None:
            raise ValueError(said)
        return said

    return ask


def test_a_client_is_checked_behind_gateways():
    plain, behind = (
        check_client(make, api="openai", contracts=["truncation"], behind=gateways) for gateways in ((), "litellm")
    )
    assert not plain.failed
    assert not behind.failed
    assert [plain.row(name).outcome for name in ("close", "clean_end")] == [
        f"raises {BREAKS}",
        "raises ValueError",
    ]
    assert behind.row("close").outcome == "raises APIError"
    assert behind.row("clean_end").outcome == "behind litellm it arrives as a whole answer, which nobody can tell"
