"""Tokens for credentials that the SDKs of clouds look up: who gives them is answered, and not reached.

Source: RFC 6749, 5.1; https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc and msal, which asks what a
tenant's endpoints are before it asks for a token.
"""

from __future__ import annotations

import re
from typing import Any

from fakellm.provider.provider import FakeProvider
from fakellm.wire.clouds import KEY

_HOSTS = ("oauth2.googleapis.com", "sts.googleapis.com", "www.googleapis.com", "accounts.google.com")
_TOKEN = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": KEY}
_MICROSOFT = "https://login.microsoftonline.com"


def token_desk() -> FakeProvider:
    """Return what answers the hosts that give tokens: Google's and Microsoft's."""
    desk = FakeProvider("openai", hosts=_HOSTS)
    desk.document("POST", re.compile(r"^/token$|^/v1/token$|^/oauth2/v4/token$|^/o/oauth2/token$"), _TOKEN)
    desk.document("POST", re.compile(r"^/[^/]+/oauth2(/v2\.0)?/token$"), _TOKEN)
    desk.document("GET", re.compile(r"/\.well-known/openid-configuration$"), _configuration)
    desk.document("GET", re.compile(r"/discovery/instance$"), _instance)
    return desk


def _configuration(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Return where a tenant's endpoints are."""
    tenant = path.lstrip("/").partition("/")[0]
    base = f"{_MICROSOFT}/{tenant}"
    return {
        "issuer": f"{base}/v2.0",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
    }


def _instance(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - one answer for all
    """Return which hosts are one cloud."""
    hosts = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    cloud = {"preferred_network": hosts[0], "preferred_cache": hosts[1], "aliases": hosts}
    configuration = f"{_MICROSOFT}/common/v2.0/.well-known/openid-configuration"
    return {"tenant_discovery_endpoint": configuration, "metadata": [cloud]}
