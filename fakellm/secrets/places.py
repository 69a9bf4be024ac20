"""Credentials in the places that are theirs: headers, URLs, forms. What is one there, and the place without it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, unquote_plus

from fakellm.secrets.names import (
    ACCOUNTS,
    AUTHORIZATIONS,
    LOOSE_PARAMETERS,
    PARAMETERS,
    RANDOM_PARAMETERS,
    is_secret_header,
    url_credentials,
)
from fakellm.secrets.shapes import PLACEHOLDER, has_shape, is_random, is_worth_hunting

_SCHEME = re.compile(r"\s*([A-Za-z][\w-]*)\s+(\S.*)", re.DOTALL)
_PARAMETER = re.compile(rf"(?i)(^|[?&;#])({'|'.join(PARAMETERS)})=([^&;#\s]+)")
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/@?#]*)@", re.IGNORECASE)
_COOKIE = re.compile(r"([^=;,\s]+)=(\"[^\"]*\"|[^;]*)")
_SIGNED = re.compile(r"(?i)(?:Credential|Signature|username|response|nonce)=\"?([^,/\"\s]+)")


def of_url(url: str) -> Iterator[str]:
    """Yield the credentials of a URL that are worth looking for elsewhere: user, password, parameters."""
    yield from url_credentials(url)
    yield from of_form(url)


def of_form(text: str) -> Iterator[str]:
    """Yield the credentials of a query or a form that are worth looking for elsewhere."""
    for match in _PARAMETER.finditer(text):
        value = unquote_plus(match[3])
        if _is_secret(match, value) and (has_shape(value) or (is_worth_hunting(value) and not _is_loose(match))):
            yield value


def of_header(name: str, value: str) -> Iterator[str]:
    """Yield the credentials of a header, named in lower case, as it has them."""
    if name in AUTHORIZATIONS:
        scheme = _SCHEME.fullmatch(value)
        rest = scheme[2].strip() if scheme else value.strip()
        if "=" in rest.rstrip("="):
            yield from _SIGNED.findall(rest)
        else:
            yield rest
        if scheme and scheme[1].lower() == "basic":
            yield from _of_basic(rest)
    elif name == "cookie":
        yield from of_cookies(value)
    elif name in ACCOUNTS or is_secret_header(name, value):
        yield (value.removeprefix("Bearer ")).strip()


def _of_basic(text: str) -> Iterator[str]:
    try:
        user, _, password = base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace").partition(":")
    except ValueError:
        return
    yield password
    if has_shape(user):
        yield user


def of_cookies(value: str) -> Iterator[str]:
    """Yield the values of cookies that look random: others say `theme=dark`."""
    yield from (found.strip('"') for _, found in _COOKIE.findall(value) if has_shape(unquote(found.strip('"'))))


def _without_credentials(value: str) -> str:
    scheme = _SCHEME.fullmatch(value)
    return f"{scheme[1]} {PLACEHOLDER}" if scheme else PLACEHOLDER


def _without_cookies(value: str, *, every: bool) -> str:
    """Return cookies without their values; the attributes of a `set-cookie` stay."""
    if "=" not in value.partition(";")[0]:
        return PLACEHOLDER
    return _COOKIE.sub(rf"\1={PLACEHOLDER}", value, count=0 if every else 1)


def without_parameters(text: str) -> str:
    """Return a URL or a form without the parameters that hold credentials."""

    def replaced(match: re.Match[str]) -> str:
        value = unquote_plus(match[3])
        if (_is_loose(match) and value.isdigit()) or not _is_secret(match, value):
            return match[0]
        return f"{match[1]}{match[2]}={PLACEHOLDER}"

    return _PARAMETER.sub(replaced, text)


def _is_loose(match: re.Match[str]) -> bool:
    return match[2].lower() in LOOSE_PARAMETERS


def without_userinfo(url: str) -> str:
    """Return a URL without user and password."""
    return _USERINFO.sub(lambda match: f"{match[1]}{PLACEHOLDER}@", url)


def redacted_url(url: str, text: Callable[[str], str]) -> str:
    """Return a URL without its credentials; `text` redacts the rest."""
    return text(without_userinfo(without_parameters(url)))


def redacted_header(name: str, value: str, text: Callable[[str], str]) -> str:
    """Return a header's value: its scheme, cookie names and attributes stay; `text` redacts what is no credential."""
    name = name.lower()
    if not value.strip():
        return value
    if name in AUTHORIZATIONS:
        return _without_credentials(value)
    if name in {"cookie", "set-cookie"}:
        return _without_cookies(value, every=name == "cookie")
    if name in ACCOUNTS or is_secret_header(name, value):
        return PLACEHOLDER
    return text(without_parameters(value) if "://" in value else value)


def _is_secret(match: re.Match[str], value: str) -> bool:
    return match[2].lower() not in RANDOM_PARAMETERS or is_random(value)
