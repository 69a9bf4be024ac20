"""The forms of keys: the vendors' (their documents on authentication), cross-read with public rules.

Those are gitleaks' (`config/gitleaks.toml`) and GitHub's secret scanning; lengths are lower bounds, so that a longer
key of the same form is met too. A rule that would also meet ordinary words asks for the shape of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from fakellm.secrets.shapes import PLACEHOLDER, has_shape, is_dummy


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a key: where `literal` occurs, `regex` is matched `back` bytes before it; its group 1 is secret."""

    kind: str
    literal: bytes
    regex: re.Pattern[bytes]
    accepts: Callable[[str], bool] | None = None
    back: int = 0


def _basic(text: str) -> bool:
    import base64

    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False


def _userinfo(text: str) -> bool:
    user, colon, password = text.partition(":")
    if not colon:
        return has_shape(user)
    return PLACEHOLDER not in password and not is_dummy(password) and "$" not in password and "{" not in password


_W = r"[A-Za-z0-9_-]"
_PREFIXED = (  # kind, prefix, what follows: not inside of a word
    ("OpenAI key", "sk-proj-", rf"{_W}{{20,}}"),
    ("OpenAI key", "sk-svcacct-", rf"{_W}{{20,}}"),
    ("OpenAI key", "sk-admin-", rf"{_W}{{20,}}"),
    ("Anthropic key", "sk-ant-", rf"{_W}{{20,}}"),
    ("OpenRouter key", "sk-or-", rf"{_W}{{20,}}"),
    ("Langfuse key", "sk-lf-", rf"{_W}{{20,}}"),
    ("GitHub token", "ghp_", r"[A-Za-z0-9]{30,}"),
    ("GitHub token", "gho_", r"[A-Za-z0-9]{30,}"),
    ("GitHub token", "ghu_", r"[A-Za-z0-9]{30,}"),
    ("GitHub token", "ghs_", r"[A-Za-z0-9]{30,}"),
    ("GitHub token", "ghr_", r"[A-Za-z0-9]{30,}"),
    ("GitHub token", "github_pat_", r"\w{22,}"),
    ("GitLab token", "glpat-", r"[A-Za-z0-9_.-]{20,}"),
    ("GitLab token", "gldt-", rf"{_W}{{20,}}"),
    ("GitLab token", "glrt-", rf"{_W}{{20,}}"),
    ("Slack token", "xox", r"[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}"),
    ("Slack token", "xapp-", r"[A-Za-z0-9-]{20,}"),
    ("Hugging Face token", "hf_", r"[A-Za-z0-9]{30,}"),
    ("Hugging Face token", "api_org_", r"[A-Za-z0-9]{30,}"),
    ("Groq key", "gsk_", r"[A-Za-z0-9]{30,}"),
    ("xAI key", "xai-", r"[A-Za-z0-9]{40,}"),
    ("Perplexity key", "pplx-", r"[A-Za-z0-9]{40,}"),
    ("Replicate token", "r8_", r"[A-Za-z0-9]{30,}"),
    ("NVIDIA key", "nvapi-", rf"{_W}{{40,}}"),
    ("Tavily key", "tvly-", r"[A-Za-z0-9-]{20,}"),
    ("Cerebras key", "csk-", r"[A-Za-z0-9]{30,}"),
    ("Together key", "tgp_v1_", rf"{_W}{{30,}}"),
    ("Fireworks key", "fw_", r"[A-Za-z0-9]{20,}"),
    ("LangSmith key", "lsv2_", r"(?:pt|sk)_\w{30,}"),
    ("Pinecone key", "pcsk_", r"\w{40,}"),
    ("Jina key", "jina_", rf"{_W}{{40,}}"),
    ("Voyage key", "pa-", rf"{_W}{{40,}}"),
    ("Vercel key", "vck_", r"[A-Za-z0-9]{40,}"),
    ("E2B key", "e2b_", r"[0-9a-f]{40}"),
    ("Firecrawl key", "fc-", r"[0-9a-f]{32}"),
    ("Databricks token", "dapi", r"[0-9a-f]{32}(?:-\d)?"),
    ("Bedrock key", "ABSK", r"[A-Za-z0-9+/]{80,}={0,2}"),
    ("Bedrock key", "bedrock-api-key-", r"[A-Za-z0-9+/=_-]{40,}"),
    ("Stripe key", "sk_live_", r"[A-Za-z0-9]{10,}"),
    ("Stripe key", "sk_test_", r"[A-Za-z0-9]{10,}"),
    ("Stripe key", "rk_live_", r"[A-Za-z0-9]{10,}"),
    ("Stripe key", "rk_test_", r"[A-Za-z0-9]{10,}"),
    ("webhook secret", "whsec_", r"[A-Za-z0-9+/=]{24,}"),
    ("ElevenLabs key", "sk_", r"[0-9a-f]{48}"),
    ("npm token", "npm_", r"[A-Za-z0-9]{36}"),
    ("PyPI token", "pypi-AgE", rf"{_W}{{50,}}"),
    ("SendGrid key", "SG.", rf"{_W}{{16,32}}\.{_W}{{16,64}}"),
    ("DigitalOcean token", "dop_v1_", r"[0-9a-f]{64}"),
    ("Shopify token", "shpat_", r"[0-9a-fA-F]{32}"),
    ("Vault token", "hvs.", rf"{_W}{{24,}}"),
    ("Doppler token", "dp.pt.", r"[A-Za-z0-9]{40,}"),
    ("Linear key", "lin_api_", r"[A-Za-z0-9]{32,}"),
    ("Notion token", "ntn_", r"[A-Za-z0-9]{40,}"),
    ("Notion token", "secret_", r"[A-Za-z0-9]{43}"),
    ("Atlassian token", "ATATT3", r"[A-Za-z0-9_=-]{60,}"),
    ("Postman key", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    ("age key", "AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
    ("Grafana token", "glsa_", r"\w{32,}"),
    ("New Relic key", "NRAK-", r"[A-Z0-9]{27}"),
    ("Figma token", "figd_", rf"{_W}{{40,}}"),
    ("Supabase token", "sbp_", r"[0-9a-f]{40}"),
    ("Supabase token", "sb_secret_", rf"{_W}{{20,}}"),
    ("Sentry token", "sntrys_", r"[A-Za-z0-9+/=_]{40,}"),
    ("Mailgun key", "key-", r"[0-9a-f]{32}"),
    ("Twilio key", "SK", r"[0-9a-f]{32}"),
    ("Google client secret", "GOCSPX-", rf"{_W}{{20,}}"),
    ("AWS access key", "AKIA", r"[A-Z0-9]{16}"),
    ("AWS access key", "ASIA", r"[A-Z0-9]{16}"),
    ("AWS access key", "ABIA", r"[A-Z0-9]{16}"),
    ("Google API key", "AIza", rf"{_W}{{35}}"),
    ("Google API key", "AQ.Ab", rf"{_W}{{40,}}"),
    ("Google token", "ya29.", r"[A-Za-z0-9_.-]{20,}"),
    ("Google token", "1//0", rf"{_W}{{30,}}"),
)  # fmt: skip
_AWS_PAIR = r"[A-Z0-9]{16}[^A-Za-z0-9]{1,8}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
_PEM_NAME = "[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_PEM_LINES = r"(?:[A-Za-z0-9+/=\s:,-]|\\+[nr])*"
_PEM_CUT = r"(?:(?:\s|\\+[nr])*[A-Za-z0-9+/=]{16,})+"
_JWT = rf"(?<!{_W})(eyJ{_W}{{10,}}\.(?:eyJ{_W}{{6,}}\.{_W}*|{_W}*(?:\.{_W}+){{3}}))"  # RFC 7515 and 7516
_PLACED = (  # kind, literal, regex with the secret in group 1, what to ask of it, bytes before the literal
    ("API key", "sk-", rf"(?<!{_W})(sk-{_W}{{16,}})", has_shape, 0),
    ("AWS secret key", "AKIA", "AKIA" + _AWS_PAIR, has_shape, 0),
    ("AWS secret key", "ASIA", "ASIA" + _AWS_PAIR, has_shape, 0),
    ("JSON Web Token", "eyJ", _JWT, None, 0),
    ("Azure key", "JQQJ99", r"(?<![A-Za-z0-9])([A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26})(?![A-Za-z0-9])", None, 52),
    ("Azure storage key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{40,}={0,2})", None, 0),
    ("Azure access key", "SharedAccessKey=", r"SharedAccessKey=([A-Za-z0-9+/]{40,}={0,2})", None, 0),
    ("Telegram token", ":AA", rf"(?<=\d{{8}})(:AA{_W}{{33}})(?!{_W})", None, 0),
    ("Slack webhook", "hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/]{20,})", None, 0),
    ("Discord webhook", "/api/webhooks/", rf"/api/webhooks/\d+/({_W}{{40,}})", None, 0),
    ("bearer token", "earer ", r"(?<=[Bb])earer +([A-Za-z0-9._~+/=-]{16,})", has_shape, 0),
    ("basic credentials", "asic ", r"(?<=[Bb])asic +([A-Za-z0-9+/]{12,}={0,2})", _basic, 0),
    ("private key", "-----BEGIN ",
     rf"(-----BEGIN {_PEM_NAME}{_PEM_LINES}?-----END {_PEM_NAME}|-----BEGIN {_PEM_NAME}{_PEM_CUT})", None, 0),
    ("password in a URL", "://", r"(?<=[a-z0-9])://([^/\s@\"'<>\\?#,;(){}]{1,300})@(?=[A-Za-z0-9\[])", _userinfo, 0),
)  # fmt: skip


@cache
def forms() -> tuple[Form, ...]:
    """Return the known forms of keys."""
    prefixed = [
        Form(kind, prefix.encode(), re.compile(rf"(?<![A-Za-z0-9_-])({re.escape(prefix)}{rest})".encode()))
        for kind, prefix, rest in _PREFIXED
    ]
    placed = [
        Form(kind, literal.encode(), re.compile(regex.encode()), accepts, back)
        for kind, literal, regex, accepts, back in _PLACED
    ]
    return (*prefixed, *placed)
