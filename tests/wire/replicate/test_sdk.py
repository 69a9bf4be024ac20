"""Replicate by its own SDK, unchanged: streamed, waited for, fetched again and again, cancelled; faked and from a server."""

from __future__ import annotations

import pytest
import sdks
from vectors import each, first_of

from fakellm import FakeProvider, Pause, Script, provider_error
from fakellm.http import dummy_keys, intercept
from fakellm.server import Server

replicate = pytest.importorskip("replicate", reason="replicate is in the group provider-sdks")

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
MODEL = "meta/meta-llama-3-8b-instruct"
VERSION = f"{MODEL}:{'a' * 64}"
INPUT = {"prompt": "Hi"}


def client_of(**options):
    client = replicate.Client(**options)
    client.poll_interval = 0
    return client


def ran(*, asynchronous=False, ref=MODEL, **options):
    """Return what `run` gives, as a list or a value."""

    async def main():
        found = await client_of().async_run(ref, input=INPUT, **options)
        return [one async for one in found] if hasattr(found, "__aiter__") else found

    if asynchronous:
        return sdks.run(main())
    found = client_of().run(ref, input=INPUT, **options)
    return list(found) if hasattr(found, "__next__") else found


def said(ref=MODEL):
    return "".join(map(str, client_of().stream(ref, input=INPUT)))


@both
@pytest.mark.parametrize("ref", [MODEL, VERSION], ids=["model", "version"])
@pytest.mark.parametrize("wait", [True, 5, False])
def test_a_prediction_is_waited_for(fake_replicate, ref, wait, asynchronous):
    fake_replicate.reply("Hel", "lo")
    assert ran(ref=ref, wait=wait, asynchronous=asynchronous) == ["Hel", "lo"]
    call = fake_replicate.calls[0]  # beside which the SDK asks for the version, if one is named
    assert (call.request.stream, call.request.text, call.state) == (False, "Hi", "complete")


@pytest.mark.parametrize("ref", [MODEL, VERSION], ids=["model", "version"])
def test_a_stream_is_one_call(fake_replicate, ref):
    fake_replicate.reply("Hel", "lo\n\n", "you")
    assert said(ref) == "Hello\n\nyou"
    (call,) = fake_replicate.calls
    assert (call.request.stream, call.request.text, call.state) == (True, "Hi", "complete")
    assert call.delivered > 0


def test_the_functions_of_the_module_are_answered_and_so_are_deployments(fake_replicate):
    fake_replicate.reply("a").reply("b")
    assert [str(event) for event in replicate.stream(MODEL, input=INPUT)] == ["a", ""]
    deployment = client_of().deployments.predictions.create("me/mine", input=INPUT, stream=True)
    assert [str(event) for event in deployment.stream()] == ["b", ""]
    assert [call.request.model for call in fake_replicate.calls] == [MODEL, "me/mine"]


def test_a_prediction_that_begins_is_fetched_when_it_is_over(fake_replicate):
    fake_replicate.reply("a").reply(lambda _: ["b"]).reply("c", Pause(5), "d")
    client = client_of()
    first = client.models.predictions.create(MODEL, input=INPUT)
    assert (first.status, first.output) == ("starting", None)
    first.wait()
    first.reload()
    assert (first.status, first.output) == ("succeeded", ["a"])
    streamed = [client.models.predictions.create(MODEL, input=INPUT, stream=True) for _ in range(2)]
    for prediction, after in zip(streamed, (None, ["c", "d"]), strict=True):
        prediction.reload()
        assert prediction.status == "processing"
        list(prediction.stream())
        prediction.reload()
        assert (prediction.status, prediction.output) == ("succeeded", after)  # what a function said is not kept
    assert fake_replicate.clock.now == 5


def test_a_prediction_is_cancelled(fake_replicate):
    fake_replicate.reply("a")
    prediction = client_of().models.predictions.create(MODEL, input=INPUT, stream=True)
    prediction.cancel()
    assert prediction.status == "canceled"
    assert fake_replicate.calls[0].state == "cancelled"


@both
def test_a_prediction_that_fails(fake_replicate, asynchronous):
    fake_replicate.reply("a", provider_error("boom")).reply("a", provider_error("boom"))
    for wait in (True, False):
        with pytest.raises(replicate.exceptions.ModelError, match="boom") as caught:
            ran(wait=wait, asynchronous=asynchronous)
        assert (caught.value.prediction.status, caught.value.prediction.output) == ("failed", ["a"])


def test_errors_before_the_answer(fake_replicate):
    fake_replicate.error(401, "You did not pass a valid authentication token")
    with pytest.raises(replicate.exceptions.ReplicateError) as refused:
        said()
    assert (refused.value.status, refused.value.title) == (401, "Unauthenticated")
    with pytest.raises(replicate.exceptions.ReplicateError, match="input.prompt"):
        client_of().run(MODEL, input={"prompt": 5})


def test_what_nobody_asked_for_is_not_found(fake_replicate):
    fake_replicate.otherwise("a")
    with pytest.raises(replicate.exceptions.ReplicateError) as missing:
        client_of().predictions.get("nothing")
    assert missing.value.status == 404
    prediction = client_of().models.predictions.create(MODEL, input=INPUT, stream=True)
    list(prediction.stream())
    with pytest.raises(ValueError, match="application/problem"):  # the SDK looks at the content type alone
        list(prediction.stream())


def test_a_document_of_ones_own_comes_before_what_is_not_there(fake_replicate):
    fake_replicate.document(
        "GET",
        "/v1/predictions/{id}",
        lambda _, path: {"id": path[-3:], "model": "a/b", "version": "c", "status": "succeeded"},
    )
    assert client_of().predictions.get("abc").id == "abc"


def test_models_and_versions(fake_replicate):
    model = client_of().models.get(MODEL)
    assert (model.owner, model.name) == tuple(MODEL.split("/"))
    assert model.versions.get("b" * 64).id == "b" * 64


@each("path", ["", "/replicate"])
def test_a_server_is_asked_by_its_path_and_its_name(path):
    with Server([FakeProvider("replicate").otherwise(Script("Hel", "lo"))]) as server:
        client = client_of(base_url=server.url + path, api_token="t")
        assert "".join(map(str, client.stream(MODEL, input=INPUT))) == "Hello"
        assert client.run(MODEL, input=INPUT, wait=False) == ["Hel", "lo"]
        client._client.close()  # the SDK has no way to close its client


def test_a_gateway_is_answered_by_the_path():
    with intercept(FakeProvider("replicate").reply("a")), dummy_keys("replicate"):
        client = client_of(base_url="https://gateway.example")
        assert "".join(map(str, client.stream(MODEL, input=INPUT))) == "a"
