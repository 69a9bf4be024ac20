"""What a request asks that no fake has read, such as one to a tape."""

from __future__ import annotations

from collections.abc import Mapping

from fakellm.errors import WireError
from fakellm.provider.hosts import parts_of, target_of
from fakellm.wire.codec import Request
from fakellm.wire.objects import parse
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of


def request_of(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request | None:
    """Return what a request asks; None if no script could answer it."""
    found = scripted_endpoint(method, url)
    if found is None:
        return None
    path = target_of(parts_of(url))
    try:
        codec = codec_of(found[1])
        return codec.read(parse(body, "the body of the request"), codec.marked(headers), path=path)
    except WireError:
        return None
