"""Which headers of a request are written as they were sent: a list, since a credential may have any name.

What a header is for is known of the names below: those of the HTTP standards that describe the message or the client
(RFC 9110, 9111, the W3C's Fetch Metadata and Trace Context), and those in which the SDKs of providers say what they
are and what they speak. Their values are searched for secrets all the same. Credentials and cookies are not among
them; they have rules of their own, which leave the scheme and the names.
"""

from __future__ import annotations

_PREFIXES = ("x-stainless-", "x-fern-", "sec-fetch-", "sec-ch-ua", "amz-sdk-", "access-control-request-")
_NAMES = """accept accept-charset accept-datetime accept-encoding accept-language
    if-match if-modified-since if-none-match if-range if-unmodified-since
    cache-control connection content-disposition content-encoding content-language content-length content-location
    content-md5 content-range content-type date digest dnt early-data expect host keep-alive max-forwards
    mime-version origin pragma prefer priority proxy-connection range referer save-data te trailer transfer-encoding
    upgrade upgrade-insecure-requests user-agent vary via x-requested-with

    traceparent x-amzn-trace-id x-cloud-trace-context x-request-id request-id x-client-request-id x-correlation-id
    correlation-id idempotency-key x-idempotency-key

    anthropic-beta anthropic-version openai-beta openai-version api-version x-api-version http-referer x-title
    x-amz-content-sha256 x-amz-date x-amz-target x-amz-user-agent x-amzn-bedrock-accept x-amzn-bedrock-content-type
    x-amzn-bedrock-performanceconfig-latency x-amzn-bedrock-trace extra-parameters x-goog-api-client
    x-goog-api-version x-goog-fieldmask x-goog-request-params x-ms-client-request-id x-ms-date x-ms-useragent
    x-ms-version x-sdk-name x-sdk-version"""
_HARMLESS = frozenset(_NAMES.split())


def is_harmless(name: str) -> bool:
    """Tell whether a header of a request, named in lower case, holds no credential by what it is for."""
    return name in _HARMLESS or name.startswith(_PREFIXES)
