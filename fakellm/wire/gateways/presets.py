"""The gateways that were measured, by name. What each field says is a cell of the table in docs/gateways.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from fakellm.errors import clip
from fakellm.wire.gateways.gateway import Gateway, Page

_NGINX = "nginx 1.22.1"
_TEXT = (("content-type", "text/plain"),)
_HTML = (("content-type", "text/html"),)
_PATIENCE = 60.0
"""nginx's `proxy_read_timeout`, unless it is told otherwise."""


def _nginx_page(title: str) -> Page:
    lines = (
        *("<html>", f"<head><title>{title}</title></head>", "<body>", f"<center><h1>{title}</h1></center>"),
        *("<hr><center>nginx/1.22.1</center>", "</body>", "</html>", ""),
    )
    return Page(int(title[:3]), _HTML, "\r\n".join(lines).encode())


def _haproxy_page(title: str, text: str, after: float = 0.0) -> Page:
    body = f"<html><body><h1>{title}</h1>\n{text}\n</body></html>\n"
    return Page(int(title[:3]), (("cache-control", "no-cache"), *_HTML), body.encode(), after)


def _nginx(name: str, **fields: object) -> Gateway:
    bad = _nginx_page("502 Bad Gateway")
    usual: dict[str, object] = {
        "silence": _PATIENCE,
        "drop": "whole",
        "loses": True,
        "drops": ("x-accel-buffering",),
        "adds": (("server", "nginx/1.22.1"),),
        "refused": bad,
        "unanswered": bad,
        "late": _nginx_page("504 Gateway Time-out"),
    }
    return Gateway(name=name, version=_NGINX, **{**usual, **fields})  # type: ignore[arg-type]


_ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: "
_CROSS = (
    ("vary", "origin, access-control-request-method, access-control-request-headers"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "*"),
)
_ROUTER = (("content-type", "text/event-stream"), ("x-request-id", "chatcmpl-fakellm{number:017d}"), *_CROSS)
_UNSENT = Page(
    500,
    (("content-type", "text/plain; charset=utf-8"),),
    b"Request failed: error sending request for url (http://127.0.0.1:8000/v1/chat/completions)",
)
_LITELLM = (
    ("x-litellm-call-id", "fakellm-{number:06d}"),
    ("x-litellm-model-id", "fakellm"),
    ("x-litellm-model-name", "openai/{model}"),
    ("x-litellm-model-api-base", "http://127.0.0.1:8000/v1"),
    ("x-litellm-version", "1.108.7"),
    ("x-litellm-key-spend", "0.0"),
    ("x-litellm-response-duration-ms", "1.0"),
    ("x-litellm-overhead-duration-ms", "1.0"),
    ("x-litellm-callback-duration-ms", "0.0"),
    ("x-litellm-model-group", "{model}"),
    ("x-litellm-attempted-retries", "0"),
    ("x-litellm-attempted-fallbacks", "0"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
)

_ALL = (
    _nginx("nginx", holds="always", late_head=True),
    _nginx("nginx-unbuffered"),
    _nginx("nginx-1.1", holds="unchunked", late_head=True, drop="cut"),
    Gateway(
        name="haproxy",
        version="haproxy 2.6.12",
        batch=0.2,
        frames=False,
        refused=_haproxy_page("503 Service Unavailable", "No server is available to handle this request.", after=3.0),
        unanswered=_haproxy_page("502 Bad Gateway", "The server returned an invalid or incomplete response."),
    ),
    Gateway(name="apache", version="Apache 2.4.71"),
    Gateway(
        name="caddy",
        version="Caddy 2.6.2",
        drop="whole",
        reset="whole",
        adds=(("server", "Caddy"),),
        refused=Page(502, (), b""),
        unanswered=Page(502, (), b""),
    ),
    Gateway(
        name="envoy",
        version="Envoy 1.39.3",
        limit=15.0,
        adds=(("x-envoy-upstream-service-time", "1"), ("server", "envoy")),
        refused=Page(503, _TEXT, _ENVOY + b"remote connection failure"),
        unanswered=Page(503, _TEXT, _ENVOY + b"connection termination"),
        late=Page(504, _TEXT, b"upstream request timeout"),
    ),
    Gateway(name="vllm-router", version="vllm-router 0.1.17", adds=_ROUTER, refused=_UNSENT, unanswered=_UNSENT),
    Gateway(name="sglang-router", version="sglang-router 0.3.2", adds=_ROUTER[:2]),
    Gateway(name="openai-forward", version="openai-forward 0.8.1", drop="hang", reset="hang", drops=("x-request-id",)),
    Gateway(
        name="portkey",
        version="@portkey-ai/gateway 1.15.2",
        first_late=0.025,
        whole_events=True,
        drop="whole",
        reset="whole",
    ),
    Gateway(
        name="litellm",
        version="litellm 1.108.7",
        rewrites="litellm",
        busy=0.05,
        late_head=True,
        usage="always",
        drops="all",
        adds=_LITELLM,
    ),
    Gateway(name="lm-proxy", version="lm-proxy 3.3.2", rewrites="lm-proxy", end_late=0.1, usage="always", drops="all"),
    Gateway(name="mlflow", version="mlflow 3.17.2", rewrites="mlflow", usage="always", drops="all"),
    Gateway(name="llama-stack", version="llama-stack 0.2.12", rewrites="llama-stack", drops="all"),
    Gateway(name="any-llm", version="any-llm-sdk 1.10.0", rewrites="any-llm", lag=0.05, usage="never", drops="all"),
)
GATEWAYS: Mapping[str, Gateway] = MappingProxyType({gateway.name: gateway for gateway in _ALL})
"""The gateways that were measured, by name."""


def gateways_of(told: str | Gateway | Iterable[str | Gateway]) -> tuple[Gateway, ...]:
    """Return gateways, the one nearest to the server first. Raises `ValueError` for a name that is none."""
    several = tuple(told) if isinstance(told, Iterable) and not isinstance(told, (str, Gateway)) else (told,)
    return tuple(_gateway(one) for one in several)


def _gateway(told: str | Gateway) -> Gateway:
    if isinstance(told, Gateway):
        return told
    if not isinstance(told, str):
        hint = f"; write behind(*{told!r})" if isinstance(told, (list, tuple)) else ""
        msg = f"a gateway is told by its name, or is a fakellm.wire.Gateway, not {clip(repr(told), 60)}{hint}"
        raise TypeError(msg)
    if "," in told and GATEWAYS.keys() >= {name.strip() for name in told.split(",")}:
        msg = f"{told!r} are several gateways in one text; name each by itself, the one nearest to the server first"
        raise ValueError(msg)
    if told not in GATEWAYS:
        near = get_close_matches(told, GATEWAYS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        msg = f"there is no gateway {told!r}; {hint}there are {', '.join(GATEWAYS)}"
        raise ValueError(msg)
    return GATEWAYS[told]
