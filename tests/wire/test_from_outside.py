"""A provider that the package does not know is added by one call, and is faked, recorded and checked as others are."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import httpx
import loopback
import pytest
from taping import On, tape
from toy import TOY, SayCodec
from vectors import each

from fakellm import FakeProvider, Finish, Script, disconnect, every_fault
from fakellm.cassette import interaction_of, write
from fakellm.contracts import check_stream, check_wire
from fakellm.contracts.grammar import Grammar, Sent, rule_table
from fakellm.errors import ContractUsageError, UnexpectedRequestError
from fakellm.http import intercept, transport
from fakellm.wire import NDJSONDecoder, add_provider, endpoint, pieces, provider_names

URL = "https://api.toy.example/toy/say"
ASKED = {"ask": "Who?", "stream": True}
SCRIPT = Script("It is ", "me.")
BYTES = b'{"say":"It is "}\n{"say":"me."}\n{"end":"stop"}\n'


@pytest.fixture
def toy():
    with add_provider(TOY):
        yield FakeProvider("toy")


def ask(url=URL, **asked):
    with httpx.Client() as client, client.stream("POST", url, json={**ASKED, **asked}) as response:
        return list(response.iter_bytes())


class HalfAnswer(Exception):
    """There was an error in the stream, or no end."""


def said(chunks):
    """Return what whole lines say, if the last one is the end."""
    lines = [json.loads(line) for line in b"".join(chunks).split(b"\n") if line.endswith(b"}")]
    if not lines or "end" not in lines[-1]:
        raise HalfAnswer
    return "".join(line["say"] for line in lines[:-1])


# -- faked --------------------------------------------------------------------------------------------


def test_it_may_hold_requests_to_rules_of_its_own(toy):
    toy.strict_requests().reply(SCRIPT)
    loud, low = (toy.handle("POST", URL, {}, json.dumps({"ask": ask}).encode()) for ask in ("WHO?", "Who?"))

    assert (loud.status, loud.as_whole(), low.status) == (400, b'{"oops":"no need to shout"}\n', 200)
    assert str(toy.calls[0].refusal).startswith("refused by the rule shouting of toy.say at ask: no need to shout\n")


def test_it_answers_without_any_client(toy):
    exchange = toy.reply(SCRIPT).handle("POST", URL, {}, json.dumps(ASKED).encode())

    assert exchange.status == 200
    assert toy.calls[0].api == "toy.say"
    assert toy.calls[0].request.text == "Who?"


def test_it_answers_clients_of_the_app(toy):
    toy.when("Who", SCRIPT)

    with intercept(toy):
        assert b"".join(ask()) == BYTES
        assert httpx.post(URL, json={"ask": "Who?"}).json() == {"said": "It is me."}
        assert httpx.get("https://api.toy.example/toy/voices").json() == {"voices": ["soft", "loud"]}
        assert httpx.post(URL, json={}).json() == {"oops": "ask me something"}

    toy.verify()


def test_it_is_known_by_its_paths_on_other_hosts_too(toy):
    with intercept(toy.otherwise("Me.")):
        assert ask("https://gateway.example/toy/say")[0] == b'{"say":"Me."}\n'


def test_it_is_handed_to_a_client_as_a_transport(toy):
    with httpx.Client(transport=transport(toy.reply(SCRIPT), httpx)) as client:
        assert client.post(URL, json=ASKED).content == BYTES


def test_it_breaks_as_others_do(toy):
    with intercept(toy.reply("It ", disconnect())), pytest.raises(httpx.ReadError):
        ask()


@pytest.mark.usefixtures("toy")
def test_its_hosts_are_not_reached_by_accident():
    with intercept(FakeProvider("openai")), pytest.raises(UnexpectedRequestError, match="is a provider of models"):
        httpx.get("https://api.toy.example/toy/voices")


def test_a_miss_names_its_endpoints(toy):
    with intercept(toy), pytest.raises(UnexpectedRequestError, match=r"it answers POST …/toy/say, GET …/toy/voices"):
        httpx.get("https://api.toy.example/else")


# -- recorded -----------------------------------------------------------------------------------------


@pytest.fixture
def recording(toy, tmp_path):
    """The path of a tape that was recorded from a server on loopback, and the URL that was asked."""
    codec = SayCodec()
    sent = [piece for piece in pieces(codec.encoder(codec.request(ASKED), 1), SCRIPT) if isinstance(piece, bytes)]
    path = tmp_path / "toy.yaml"
    headers = [("content-type", codec.content_type), ("transfer-encoding", "chunked")]
    with loopback.Pieces(sent, headers=headers) as server, On(tape(path)):
        url = f"{server.url}/toy/say"
        assert b"".join(ask(url)) == BYTES
    return path, url


def test_a_tape_of_it_plays_and_reads_as_a_script(recording):
    path, url = recording

    with On(tape(path, mode="none")) as played:
        assert len(ask(url)) == 3
        assert played.script() == SCRIPT + Finish()


def test_a_tape_of_it_dies_at_every_chunk(recording):
    path, url = recording
    seen = set()

    @every_fault(tape(path, mode="none"))
    def test(faulty):
        with On(faulty), pytest.raises((httpx.TransportError, HalfAnswer)) as raised:
            said(ask(url))
        seen.add(type(raised.value).__name__)

    test()

    assert seen == {"HalfAnswer", "ReadError", "ReadTimeout", "RemoteProtocolError"}


@pytest.mark.usefixtures("toy")
def test_a_script_is_written_as_a_tape_of_it(tmp_path):
    path = tmp_path / "scripted.yaml"
    write(path, interaction_of(SCRIPT, URL, ASKED))

    with On(tape(path, mode="none")) as played:
        assert b"".join(ask()) == BYTES
        assert played.script().text == "It is me."


# -- checked ------------------------------------------------------------------------------------------


class App:
    """Streams what the toy says, and takes nothing but its end for the end."""

    def stream(self, question):
        whole = False
        with httpx.Client() as client, client.stream("POST", URL, json={"ask": question, "stream": True}) as response:
            if response.status_code != 200:
                raise RuntimeError(response.read().decode())
            for line in response.iter_lines():
                value = json.loads(line)
                if "oops" in value:
                    raise RuntimeError(value["oops"])
                whole = "end" in value
                if "say" in value:
                    yield value["say"]
        if not whole:
            msg = "half an answer"
            raise RuntimeError(msg)


class Believes(App):
    """Takes any end for the end."""

    def stream(self, question):
        try:
            yield from super().stream(question)
        except RuntimeError:
            return


@pytest.mark.usefixtures("toy")
def test_streams_of_it_are_checked_behind_the_apps_own_client():
    assert not check_stream(App, api="toy", contracts=["truncation", "in_band_error", "whitespace_tail"]).failed
    broken = check_stream(Believes, api="toy", contracts=["truncation", "in_band_error"])
    assert {verdict.contract.name for verdict in broken.failed} == {"truncation", "in_band_error"}


@pytest.mark.usefixtures("toy")
def test_without_a_grammar_its_bytes_are_politely_not_judged():
    with pytest.raises(ContractUsageError, match=r"the API 'toy.say' has no grammar: give its endpoint one") as refused:
        check_wire(BYTES, api="toy.say")
    assert "check_wire knows openai_chat, " in str(refused.value)

    with pytest.raises(ContractUsageError, match="there is no API 'toy.sing'; check_wire knows openai_chat"):
        check_wire(BYTES, api="toy.sing")


class Lines:
    """Cuts lines."""

    def __init__(self, grammar):
        self.grammar = grammar
        self._decoder = NDJSONDecoder()

    def feed(self, data):
        for value in self._decoder.feed(data):
            self.grammar.take(Sent(self.grammar.events + 1, self.grammar.events + 1, 0, json.dumps(value)))

    def close(self):
        self.grammar.close()


class ToyGrammar(Grammar):
    """Says that the end is there."""

    api = "toy_say"
    frames = Lines
    content_types = ("application/x-ndjson",)
    rules = rule_table(
        "toy_say",
        "this page",
        ("content_type", "lines of JSON come as such", "clients look at it"),
        ("end", "the last line has the end", "without it half an answer looks whole"),
    )
    ended = False

    def event(self, sent):
        self.ended = "end" in sent.data

    def close(self):
        if not self.ended:
            self.missing("end", "nothing", "a line with the end")


@pytest.mark.parametrize("given", [ToyGrammar, f"{__name__}:ToyGrammar"], ids=["class", "name"])
def test_with_a_grammar_its_bytes_are_judged(given, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[ToyGrammar.__module__])
    say, voices = TOY.endpoints
    with add_provider(replace(TOY, endpoints=(replace(say, grammar=given), voices))):
        assert check_wire(BYTES, api="toy.say", content_type="application/x-ndjson").problems == ()
        report = check_wire(BYTES[:-14], api="toy_say", content_type="text/html")

    assert [problem.rule.id for problem in report.problems] == ["toy_say.content_type", "toy_say.end"]


# -- added --------------------------------------------------------------------------------------------


def test_it_is_there_as_long_as_it_was_added_for():
    with pytest.raises(ValueError, match=r"there is no fake of the provider 'toy'; there are openai.*add_provider"):
        FakeProvider("toy")
    with add_provider(TOY):
        assert "toy" in provider_names()
        with add_provider(TOY):  # once more is no other
            FakeProvider("toy")
    assert "toy" not in provider_names()

    kept = add_provider(TOY)
    assert FakeProvider("toy").name == "toy"
    kept.close()
    assert "toy" not in provider_names()


@each("name", ["toy", "openai"])
def test_a_name_that_another_has_is_refused(name):
    with add_provider(TOY), pytest.raises(ValueError, match=f"there is a provider '{name}' already"):
        add_provider(replace(TOY, name=name, keys=("ANOTHER",)))


def test_what_is_no_service_is_refused():
    with pytest.raises(TypeError, match="a provider is a fakellm.wire.Service, not 'toy'"):
        add_provider("toy")


def test_it_has_no_profiles(toy):
    with pytest.raises(ValueError, match="there is no profile 'azure': toy has none"):
        toy.imitate("azure")


def test_what_answers_may_be_named_too():
    named = endpoint("toy.say", r"/toy/say$", f"{SayCodec.__module__}:SayCodec")

    with add_provider(replace(TOY, endpoints=(named,))), intercept(FakeProvider("toy").reply(SCRIPT)):
        assert b"".join(ask()) == BYTES
