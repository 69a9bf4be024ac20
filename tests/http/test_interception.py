"""Interception: the app's own clients are answered, and nothing of it is left afterwards."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import textwrap

import anthropic
import loopback
import openai
import pytest
import sdks

from fakellm import FakeProvider
from fakellm.cassette import Tape
from fakellm.errors import UnexpectedRequestError
from fakellm.http.interception import Interception, intercept

ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
CHAT = "https://api.openai.com/v1/chat/completions"

libraries = pytest.mark.parametrize("library", ["httpx", "httpx2"])
flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


class Asker:
    """A client of an HTTP library, synchronous or not, that is asked in the same words."""

    def __init__(self, library, asynchronous, **options):
        self.module = importlib.import_module(library)
        self.asynchronous = asynchronous
        if asynchronous:
            self.loop = asyncio.new_event_loop()
            self.client = self.module.AsyncClient(**options)
        else:
            self.client = self.module.Client(**options)

    def post(self, url=CHAT, json=ASK, **options):
        answer = self.client.post(url, json=json, **options)
        return self.loop.run_until_complete(answer) if self.asynchronous else answer

    def get(self, url):
        answer = self.client.get(url)
        return self.loop.run_until_complete(answer) if self.asynchronous else answer

    def close(self):
        if self.asynchronous:
            self.loop.run_until_complete(self.client.aclose())
            self.loop.close()
        else:
            self.client.close()


@pytest.fixture
def asker(request):
    made = []

    def make(library, asynchronous, **options):
        made.append(Asker(library, asynchronous, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fake():
    return FakeProvider("openai").otherwise("Hello")


def text(response):
    return response.json()["choices"][0]["message"]["content"]


def patched():
    """Return everything that an interception replaces, as it is now."""
    import socket

    import aiohttp
    import httpx
    import httpx2

    owners = [socket, socket.socket, aiohttp.TCPConnector]
    owners += [getattr(m, name) for m in (httpx, httpx2) for name in ("HTTPTransport", "AsyncHTTPTransport")]
    return [dict(vars(owner)) for owner in owners] + [list(sys.meta_path)]


# -- whose clients are answered -----------------------------------------------------------------------


@libraries
@flavours
def test_a_client_is_answered_whenever_it_was_made(library, asynchronous, asker, fake):
    before = asker(library, asynchronous)
    with intercept(fake):
        inside = asker(library, asynchronous)
        assert (text(before.post()), text(inside.post())) == ("Hello", "Hello")
    with intercept(FakeProvider("openai").otherwise("again")):
        assert (text(before.post()), text(inside.post())) == ("again", "again")


@libraries
@flavours
def test_a_client_works_on_with_the_real_network_afterwards(library, asynchronous, asker, fake):
    served = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise("real")
    client = asker(library, asynchronous)
    with loopback.Loopback(served) as server:
        url = f"{server.url}/v1/chat/completions"
        with intercept(fake):
            assert text(client.post()) == "Hello"
            assert text(client.post(url)) == "real"
        assert text(client.post(url)) == "real"


@pytest.mark.parametrize("kind", ["plain", "http_client", "default", "with_options"])
def test_every_way_to_make_an_openai_client_is_answered(kind, fake):
    http = sdks.http_of("openai")
    with intercept(fake):
        client = openai.OpenAI(
            api_key="k", http_client={"http_client": http.Client(), "default": openai.DefaultHttpxClient()}.get(kind)
        )
        if kind == "with_options":
            client = client.with_options(timeout=1, max_retries=0)
        assert client.chat.completions.create(**ASK).choices[0].message.content == "Hello"


def test_the_clients_of_two_providers_are_answered_at_once():
    gpt, claude = FakeProvider("openai").reply("gpt"), FakeProvider("anthropic").reply("claude")
    with intercept(gpt, claude):
        one = openai.OpenAI(api_key="k").chat.completions.create(**ASK)
        two = anthropic.Anthropic(api_key="k").messages.create(**ASK, max_tokens=9)

    assert (one.choices[0].message.content, two.content[0].text) == ("gpt", "claude")
    assert [len(gpt.calls), len(claude.calls)] == [1, 1]


def test_of_two_fakes_of_one_provider_the_first_answers():
    first, second = FakeProvider("openai").otherwise("first"), FakeProvider("openai").otherwise("second")
    with intercept(first, second):
        assert openai.OpenAI(api_key="k").chat.completions.create(**ASK).choices[0].message.content == "first"
    assert second.calls == []


def test_a_provider_that_owns_the_host_answers_before_one_that_knows_the_path():
    gateway = FakeProvider("openai", hosts=["gateway.test"]).otherwise("gateway")
    with intercept(FakeProvider("openai").otherwise("openai"), gateway):
        client = openai.OpenAI(api_key="k", base_url="https://gateway.test/v1")
        assert client.chat.completions.create(**ASK).choices[0].message.content == "gateway"


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("openai", r"not 'openai'; write FakeProvider\('openai'\)"),
        ([FakeProvider("openai")], r"write \*list, one argument each"),
        (Tape("none.yaml"), r"a tape plays in `with fakellm.http.playing\(tape\):`"),
        (None, "not None"),
    ],
)
def test_what_is_no_provider_is_told(given, remedy):
    with pytest.raises(TypeError, match=f"intercept takes fake providers, .*{remedy}"), intercept(given):
        pass


def test_a_provider_that_is_added_while_it_is_on_answers(fake):
    with intercept() as interception:
        with pytest.raises(UnexpectedRequestError):
            openai.OpenAI(api_key="k").chat.completions.create(**ASK)
        interception.providers.append(fake)
        assert openai.OpenAI(api_key="k").chat.completions.create(**ASK)


@libraries
@flavours
@pytest.mark.parametrize("base", ["https://gateway.corp.test/openai/v1", "http://10.1.2.3:8080/v1"])
def test_a_gateway_is_answered_by_its_path(base, library, asynchronous, asker, fake):
    with intercept(fake):
        assert text(asker(library, asynchronous).post(f"{base}/chat/completions")) == "Hello"


@libraries
@flavours
@pytest.mark.parametrize("named", [False, True], ids=["not named", "named in hosts"])
def test_this_machine_is_asked_for_real_unless_hosts_names_it(named, library, asynchronous, asker):
    served = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise("real")
    with loopback.Loopback(served) as server:
        fake = FakeProvider("openai", hosts=[server.url.removeprefix("http://")] if named else []).otherwise("fake")
        with intercept(fake):
            answer = asker(library, asynchronous).post(f"{server.url}/v1/chat/completions")

    assert text(answer) == ("fake" if named else "real")


@libraries
@flavours
def test_a_transport_of_the_app_around_the_librarys_own_is_passed(library, asynchronous, asker, fake):
    module = importlib.import_module(library)
    seen = []

    class Logging(module.BaseTransport, module.AsyncBaseTransport):
        def __init__(self):
            self.inner = module.AsyncHTTPTransport() if asynchronous else module.HTTPTransport()

        def handle_request(self, request):
            seen.append(request.url.path)
            return self.inner.handle_request(request)

        async def handle_async_request(self, request):
            seen.append(request.url.path)
            return await self.inner.handle_async_request(request)

    with intercept(fake):
        assert text(asker(library, asynchronous, transport=Logging()).post()) == "Hello"
    assert seen == ["/v1/chat/completions"]


@libraries
@flavours
def test_a_subclass_of_the_librarys_transport_is_answered(library, asynchronous, asker, fake):
    module = importlib.import_module(library)

    class Sync(module.HTTPTransport):
        def handle_request(self, request):
            return super().handle_request(request)

    class Async(module.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            return await super().handle_async_request(request)

    with intercept(fake):
        assert text(asker(library, asynchronous, transport=Async() if asynchronous else Sync()).post()) == "Hello"


@libraries
@flavours
def test_mounts_and_proxies_of_a_client_are_answered(library, asynchronous, asker, fake, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with intercept(fake):
        assert text(asker(library, asynchronous).post()) == "Hello"


@libraries
@flavours
def test_a_mock_of_the_app_answers_its_own_client(library, asynchronous, asker, fake):
    module = importlib.import_module(library)
    mock = module.MockTransport(lambda request: module.Response(200, text="mine"))
    with intercept(fake, block_network=True):
        assert asker(library, asynchronous, transport=mock).post().text == "mine"
    assert fake.calls == []


@libraries
def test_an_asgi_app_under_test_is_reached_and_its_own_calls_are_answered(library, fake):
    module = importlib.import_module(library)

    async def app(scope, receive, send):
        async with openai.AsyncOpenAI(api_key="k") as client:
            answer = await client.chat.completions.create(**ASK)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer.choices[0].message.content.encode()})

    async def main():
        async with module.AsyncClient(transport=module.ASGITransport(app=app)) as client:
            return (await client.get("http://api.openai.com/v1/models")).text

    with intercept(fake):
        assert sdks.run(main()) == "Hello"
    assert [call.method for call in fake.calls] == ["POST"]


@libraries
@flavours
def test_a_redirect_to_a_provider_is_answered(library, asynchronous, asker, fake):
    module = importlib.import_module(library)

    class Moved(module.HTTPTransport):
        def handle_request(self, request):
            if request.url.host == "old.test":
                return module.Response(307, headers={"location": CHAT})
            return super().handle_request(request)

    class AsyncMoved(module.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            if request.url.host == "old.test":
                return module.Response(307, headers={"location": CHAT})
            return await super().handle_async_request(request)

    with intercept(fake):
        client = asker(
            library, asynchronous, transport=AsyncMoved() if asynchronous else Moved(), follow_redirects=True
        )
        assert text(client.post("https://old.test/anything")) == "Hello"


@libraries
@pytest.mark.parametrize("how", ["close", "leave"])
def test_a_client_that_is_closed_takes_its_streams_along(library, how):
    module = importlib.import_module(library)
    provider = FakeProvider("openai").otherwise(*["w"] * 50)
    body = {**ASK, "stream": True}

    async def main():
        async with module.AsyncClient() as client:
            response = await client.send(client.build_request("POST", CHAT, json=body), stream=True)
            pieces = response.aiter_bytes()
            await anext(pieces)
            if how == "close":
                await client.aclose()
        with pytest.raises(module.ReadError):
            await anext(pieces)

    with intercept(provider):
        with module.Client() as client:
            response = client.send(client.build_request("POST", CHAT, json=body), stream=True)
            pieces = response.iter_bytes()
            next(pieces)
            if how == "close":
                client.close()
        with pytest.raises(module.ReadError):
            next(pieces)
        sdks.run(main())
    assert [call.state for call in provider.calls] == ["closed", "closed"]


def test_modules_limits_whose_clients_are_answered(fake):
    import httpx
    import httpx2

    with intercept(fake, modules=[httpx]):
        assert text(httpx.post(CHAT, json=ASK)) == "Hello"
        with pytest.raises(UnexpectedRequestError, match=r"a connection to api\.openai\.com"):
            httpx2.post(CHAT, json=ASK)


# -- on and off ---------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [None, ValueError, Stop, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_everything_is_restored_however_the_block_is_left(error, fake):
    import aiohttp  # noqa: F401

    before = patched()

    def block():
        with intercept(fake, block_network=True):
            assert patched() != before
            openai.OpenAI(api_key="k").chat.completions.create(**ASK)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            block()
    else:
        block()

    assert patched() == before
    import socket

    assert not {"connect", "connect_ex", "send", "sendall", "sendto"} & vars(socket.socket).keys()  # they are inherited


def test_nested_interceptions_end_in_order(fake):
    before = patched()
    inner = FakeProvider("openai").otherwise("inner")
    client = openai.OpenAI(api_key="k")
    with intercept(fake):
        with intercept(inner):
            assert client.chat.completions.create(**ASK).choices[0].message.content == "inner"
        assert client.chat.completions.create(**ASK).choices[0].message.content == "Hello"

    assert patched() == before


def test_what_the_inner_interception_does_not_fake_the_outer_answers(fake):
    claude = FakeProvider("anthropic").otherwise("claude")
    with intercept(fake), intercept(claude):
        assert openai.OpenAI(api_key="k").chat.completions.create(**ASK).choices[0].message.content == "Hello"
        assert anthropic.Anthropic(api_key="k").messages.create(**ASK, max_tokens=9).content[0].text == "claude"


def test_an_interception_can_be_turned_on_again(fake):
    interception = Interception([fake])
    for _ in range(2):
        with interception.on():
            assert openai.OpenAI(api_key="k").chat.completions.create(**ASK)
        assert interception.provider_for("POST", CHAT) is None


# -- libraries that are loaded while it is on ---------------------------------------------------------


def run(code):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


HEAD = """
    import sys
    from fakellm import FakeProvider
    from fakellm.http.interception import intercept
    fake = FakeProvider("openai").otherwise("Hello")
    ask = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    chat = "https://api.openai.com/v1/chat/completions"
"""


def test_interception_imports_no_http_library():
    out = run(
        HEAD
        + """
    with intercept(fake):
        print(*{"httpx", "httpx2", "aiohttp", "httpcore", "respx", "openai"} & set(sys.modules))
    """
    )

    assert out == []


@pytest.mark.exhaustive
def test_what_is_imported_while_it_is_on_is_answered():
    """The SDK first, which imports one of the libraries; all in one process, since each import is dear."""
    out = run(
        HEAD
        + """
    import asyncio
    from importlib import import_module, reload, resources
    with intercept(fake):
        import openai
        print("openai", openai.OpenAI(api_key="k").chat.completions.create(**ask).choices[0].message.content)
        for library in ("httpx", "httpx2"):
            http = import_module(library)
            print(library, http.post(chat, json=ask).json()["choices"][0]["message"]["content"])
            async def main():
                async with http.AsyncClient() as client:
                    return (await client.post(chat, json=ask)).json()["choices"][0]["message"]["content"]
            print(asyncio.run(main()), type(http.__loader__).__name__, type(http.__spec__.loader).__name__)
        import aiohttp
        async def main():
            async with aiohttp.ClientSession() as session, session.post(chat, json=ask) as answer:
                return (await answer.json())["choices"][0]["message"]["content"]
        print("aiohttp", asyncio.run(main()))
    for library in ("httpx", "httpx2"):
        http = import_module(library)
        print("fakellm" in http.HTTPTransport.handle_request.__module__)
        reload(http)
        print(resources.files(library).joinpath("py.typed").is_file())
    print("fakellm" in aiohttp.TCPConnector._create_connection.__module__)
    """
    )

    loaders = ["SourceFileLoader", "SourceFileLoader"]
    asked = [*("openai", "Hello"), "httpx", "Hello", "Hello", *loaders, "httpx2", "Hello", "Hello", *loaders]
    assert out == [*asked, "aiohttp", "Hello", *["False", "True"] * 2, "False"]


@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.exhaustive
def test_httpx2_under_the_name_of_httpx_is_answered(when):
    alias = "import httpx2; httpx2.alias_httpx(); import httpx; assert httpx is httpx2"
    out = run(
        HEAD
        + f"""
    {alias if when == "before" else ""}
    with intercept(fake):
        {alias}
        from httpx import Client
        print(Client().post(chat, json=ask).json()["choices"][0]["message"]["content"], len(fake.calls))
    print("fakellm" in httpx2.HTTPTransport.handle_request.__module__)
    """
    )

    assert out == ["Hello", "1", "False"]


@pytest.mark.exhaustive
def test_a_library_whose_import_fails_fails_as_without_us():
    out = run(
        HEAD
        + """
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "httpx":
                raise ImportError("no such library")
    sys.meta_path.insert(0, Broken())
    with intercept(fake):
        try:
            import httpx
        except ImportError as error:
            print(error)
    """
    )

    assert " ".join(out) == "no such library"


@pytest.mark.exhaustive
def test_vcr_that_is_imported_while_it_is_on_works_afterwards(tmp_path):
    tape = tmp_path / "tape.yaml"
    tests = str(loopback.__file__).rsplit("/", 1)[0]
    out = run(
        HEAD
        + f"""
    sys.path.insert(0, {tests!r})
    import loopback, httpx, httpx2, urllib.request
    served = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise("real")
    with intercept(fake):
        import vcr
        print(httpx.post(chat, json=ask).json()["choices"][0]["message"]["content"])
    for mode in ("once", "none"):
        with loopback.Loopback(served) as server, vcr.use_cassette({str(tape)!r}, record_mode=mode, match_on=["method", "path"]):
            for http in (httpx, httpx2):
                print(http.get(server.url + "/v1/models").status_code)
    print(len(served.calls))
    """
    )

    assert out == ["Hello", "200", "200", "200", "200", "2"]
