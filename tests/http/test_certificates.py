"""Certificates wait for the first connection while a fake is on, and are there when it comes."""

from __future__ import annotations

import asyncio
import gc
import importlib
import ssl
import threading
import weakref
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp
import anthropic
import certifi
import openai
import pytest
import sdks
import trustme

from fakellm import FakeProvider
from fakellm.http import certificates, intercept

LIBRARIES = ["httpx", "httpx2"]


@pytest.fixture(autouse=True)
def _outside_contexts_load_at_once(monkeypatch):
    """Take back what the conftest of all tests does."""
    for name in ("load_verify_locations", "set_default_verify_paths"):
        monkeypatch.delattr(ssl.SSLContext, name)


@pytest.fixture(scope="module")
def authority():
    """An authority that no machine knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("certificates") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        """Keep quiet."""


class Quiet(HTTPServer):
    def handle_error(self, *_):
        """Take that a client refused the certificate."""


@pytest.fixture(scope="module")
def server(authority):
    """The URL of a server on loopback, whose certificate is of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Quiet(("127.0.0.1", 0), Answers) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://localhost:{listening.server_port}"
        listening.shutdown()
        thread.join()


@contextmanager
def faked():
    with intercept(FakeProvider("openai")):
        yield


def cause(error):
    """Return the innermost error."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error


def get(client, url):
    with client:
        return client.get(url).text


async def aget(client, url):
    async with client:
        return (await client.get(url)).text


async def ask_aiohttp(url, *, during):
    with ExitStack() as stack:
        if during:
            stack.enter_context(faked())
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certifi.where()))
        stack.close()
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
            return await response.text()


# -- verified as ever ---------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_that_outlives_the_fake_refuses_a_certificate_of_nobody(library, asynchronous, server):
    module = importlib.import_module(library)
    with faked():
        client = module.AsyncClient() if asynchronous else module.Client()

    with pytest.raises(module.ConnectError) as refused:
        asyncio.run(aget(client, server)) if asynchronous else get(client, server)

    assert isinstance(cause(refused.value), ssl.SSLCertVerificationError)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_refuses_it_while_the_fake_is_on_too(library, server):
    module = importlib.import_module(library)

    with faked(), pytest.raises(module.ConnectError, match="(?i)certificate"):
        get(module.Client(), server)


@pytest.mark.parametrize("make", [openai.OpenAI, anthropic.Anthropic], ids=["openai", "anthropic"])
def test_an_sdk_that_outlives_the_fake_refuses_it(make, server):
    with faked():
        client = make(api_key="none", base_url=server, max_retries=0)

    with client, pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)) as refused:
        client.models.list()

    assert isinstance(cause(refused.value), ssl.SSLCertVerificationError)


def test_gemini_that_outlives_the_fake_refuses_it(server):
    from google import genai

    with faked():
        client = genai.Client(api_key="none", http_options={"base_url": server})

    with pytest.raises(sdks.http_of("google-genai").ConnectError) as refused:
        list(client.models.list())
    client.close()

    assert isinstance(cause(refused.value), ssl.SSLCertVerificationError)


@pytest.mark.parametrize("during", [True, False])
def test_aiohttp_refuses_it(server, during):
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        asyncio.run(ask_aiohttp(server, during=during))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_accepts_what_the_machines_bundle_vouches_for(library, asynchronous, server, bundle, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    module = importlib.import_module(library)
    with faked():
        client = module.AsyncClient() if asynchronous else module.Client()

    assert (asyncio.run(aget(client, server)) if asynchronous else get(client, server)) == "ok"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_context_of_ones_own_is_used_as_it_is(library, server, authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with faked():
        client = importlib.import_module(library).Client(verify=context)

    assert client._transport._pool._ssl_context is context
    assert get(client, server) == "ok"


# -- each its own -------------------------------------------------------------------------------------


def test_clients_do_not_share_a_context():
    import httpx2

    with faked():
        first, second = httpx2.Client(), httpx2.Client()
        contexts = [client._transport._pool._ssl_context for client in (first, second)]
        contexts[0].check_hostname = False

    assert contexts[0] is not contexts[1]
    assert contexts[1].check_hostname
    first.close()
    second.close()


def loaded(context):
    """Tell whether a context has its certificates, without asking it to load them."""
    return not hasattr(context, "loads_first")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "make", [ssl.create_default_context, lambda: ssl.create_default_context(cafile=certifi.where())]
)
def test_a_context_shows_the_certificates_that_it_would_have_had(make):
    outside = make()
    with faked():
        shown, counted = make(), make()
        assert not loaded(shown)
        assert not loaded(counted)

        assert shown.get_ca_certs() == outside.get_ca_certs()
        assert counted.cert_store_stats() == outside.cert_store_stats()
        assert make().cert_store_stats() == outside.cert_store_stats()  # of a context that nobody keeps

    assert loaded(shown)
    assert type(shown) is ssl.SSLContext


def test_a_context_may_load_more_than_once(bundle):
    with faked():
        context = ssl.create_default_context(cafile=certifi.where())
        before = context.cert_store_stats()["x509"]
        context.load_verify_locations(certifi.where())
        assert not loaded(context)
        context.load_verify_locations(bundle)

        assert context.cert_store_stats()["x509"] == before + 1


def test_one_of_many_threads_loads_and_the_others_wait():
    with faked():
        context = ssl.create_default_context(cafile=certifi.where())
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(context.cert_store_stats()["x509"])) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(counts)) == 1
    assert counts[0] > 0


def test_a_context_is_freed_as_ever():
    gc.disable()
    try:
        with faked():
            gone = weakref.ref(ssl.create_default_context(cafile=certifi.where()))
            assert gone() is None
    finally:
        gc.enable()


# -- what does not wait -------------------------------------------------------------------------------


def test_a_bundle_of_ones_own_is_read_at_once(bundle):
    with faked():
        context = ssl.create_default_context(cafile=bundle)

    assert loaded(context)
    assert len(context.get_ca_certs()) == 1


def test_certificates_in_memory_and_folders_are_read_at_once(authority):
    with faked():
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        folder = ssl.create_default_context(capath=ssl.get_default_verify_paths().openssl_capath)

    assert loaded(context)
    assert loaded(folder)
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("text", [None, "no certificate"], ids=["missing", "broken"])
def test_a_bundle_that_cannot_be_loaded_is_an_error_where_it_is_named(text, tmp_path, monkeypatch):
    path = tmp_path / "bundle.pem"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    with faked(), pytest.raises((OSError, ssl.SSLError)):
        ssl.create_default_context(cafile=str(path))


def test_default_paths_without_a_bundle_are_the_interpreters_own_business(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))

    with faked():
        context = ssl.create_default_context()

    assert loaded(context)
    assert context.cert_store_stats()["x509"] == 0


def test_afterwards_contexts_are_made_as_before():
    names = set(vars(ssl.SSLContext))
    with faked(), intercept(FakeProvider("anthropic")):
        nested = ssl.create_default_context(cafile=certifi.where())
        assert not loaded(nested)

    assert set(vars(ssl.SSLContext)) == names
    assert loaded(ssl.create_default_context(cafile=certifi.where()))
    assert nested.cert_store_stats()["x509"] > 0


def test_a_class_of_contexts_that_somebody_else_put_there_is_left_alone(monkeypatch):
    class Other(ssl.SSLContext):
        __module__ = "other"

    monkeypatch.setattr(ssl, "SSLContext", Other)
    with ExitStack() as stack:
        certificates.wait_for_use(stack)

        assert "load_verify_locations" not in vars(Other)
