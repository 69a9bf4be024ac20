"""What people are shown of a request: reports, exceptions, the repr of a call, without the secrets.

A log of a test run is more public than a tape. So what is shown goes through what finds secrets for tapes: by place
(a parameter of a URL, a header), by value (what the request itself carries, what the environment holds), by form.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from fakellm.secrets.edits import Edit, apply, merged
from fakellm.secrets.headers import is_harmless
from fakellm.secrets.hunting import find
from fakellm.secrets.names import environment_secrets, spellings
from fakellm.secrets.places import of_header, of_url, redacted_header, redacted_url
from fakellm.secrets.shapes import is_random, is_worth_hunting
from fakellm.secrets.strings import over_strings


class Shown:
    """Redacts what is shown of one request: its credentials are looked for in all texts, and the environment's.

    `secrets` are values that are never to be shown, whatever they look like. `environ` is read once.
    `values` are all that is looked for, as bytes, with their kinds.
    """

    def __init__(
        self,
        url: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        known = {*secrets, *environment_secrets(os.environ if environ is None else environ)}
        known.update(credentials(url, headers or {}))
        self.values = {form: "known" for text in known if text for form in spellings(text)}

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        data = text.encode("utf-8", "surrogatepass")
        return apply(data, self.found(data)).decode("utf-8", "surrogatepass")

    def found(self, data: bytes) -> list[Edit]:
        """Return what to replace in a text, in one string or over several."""
        return merged([*find(data, self.values), *over_strings(data, self.values)])

    def url(self, url: str) -> str:
        """Return a URL without user, password, and the parameters that hold credentials."""
        return redacted_url(url, self.text)

    def header(self, name: str, value: str) -> str:
        """Return a header's value without its credentials; the scheme and the names of cookies stay."""
        return redacted_header(name, value, self.text)


def redacted_text(text: str, *, environ: Mapping[str, str] | None = None) -> str:
    """Return a text without its secrets: those of the environment, and what has the form or the place of one."""
    return Shown(environ=environ).text(text)


def credentials(url: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what a request carries that is worth looking for elsewhere."""
    yield from of_url(url)
    for name, value in headers.items():
        yield from filter(is_worth_hunting, of_header(name.lower(), value))
        if not is_harmless(name.lower()) and is_random(value):
            yield value.strip()
