"""What a secret is: names of headers, parameters, fields and variables; forms of keys; what only looks like one.

Names are those of the HTTP standards and of the providers' own API documents. The forms of keys are the
vendors' (their documents on authentication), cross-read with the public rules of gitleaks
(`config/gitleaks.toml`) and of GitHub's secret scanning; lengths are lower bounds, so that a longer key
of the same form is met too. A rule that would also meet ordinary words asks for the shape of a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote_plus, unquote, urlsplit

PLACEHOLDER = "REDACTED"
"""What stands in a secret's place, whatever its value was: letters only, so that no format has to escape it."""

SHORTEST = 8
"""Characters that a value has at least for it to be looked for outside of its own place."""


def _words(text: str) -> list[str]:
    return text.split()


# ---- Names ----------------------------------------------------------------------------------------------------------

AUTHORIZATIONS = frozenset(
    {"authorization", "proxy-authorization", "x-amzn-authorization", "x-forwarded-authorization"}
)
"""Headers of a scheme and credentials (RFC 9110, 11.6): the scheme stays."""

ACCOUNTS = frozenset({"openai-organization", "openai-project", "anthropic-organization-id", "x-goog-user-project"})
"""Headers that name who pays: no credentials, and nobody else's business."""

HEADERS = frozenset(
    _words("""x-api-key api-key apikey x-apikey x-goog-api-key x-goog-iam-authorization-token x-amz-security-token
    x-auth-token x-auth-key x-access-token x-csrf-token x-xsrf-token x-session-token x-vault-token x-functions-key
    x-github-token x-gitlab-token private-token job-token x-figma-token x-subscription-token x-portkey-api-key
    ocp-apim-subscription-key helicone-auth cf-aig-authorization x-ms-token-aad-access-token x-amz-signature
    x-hub-signature x-hub-signature-256 stripe-signature authentication-info dd-api-key dd-application-key
    x-honeycomb-team x-shopify-access-token xi-api-key x-rapidapi-key x-figma-token x-datadog-api-key""")
)
"""Headers whose whole value is a credential, each by the document of whoever reads it."""

_SECRET_WORDS = frozenset(_words("authorization token secret password passphrase credential credentials apikey"))
_DOUBTFUL_WORDS = frozenset(("auth", "jwt", "signature", "cookie"))
_HARMLESS_WORDS = frozenset(
    _words("""ratelimit limit remaining reset count counts usage used tokens type expires expiry cost spend algorithm
    alg idempotency cancellation version max min allow headers name""")
)

PARAMETERS = _words(
    """key api[_-]?key x[_-]api[_-]key token access[_-]?token refresh[_-]token id[_-]token auth[_-]?token auth sig hmac
    session[_-]?token authorization signature secret client[_-]?secret client[_-]assertion assertion password passwd pwd
    subscription[_-]key x-amz-signature x-amz-credential x-amz-security-token x-goog-signature x-goog-credential code
    awsaccesskeyid key-pair-id device_code code_verifier"""
)
"""Query parameters and form fields that hold a credential: RFC 6750, RFC 6749, Google's `key`, Azure's `sig` and
`code`, the signed URLs of AWS, Google Cloud and CloudFront. Regular expressions, case ignored."""

LOOSE_PARAMETERS = frozenset(("key", "token", "auth", "code", "signature", "hmac", "assertion", "secret"))
"""Those that mean something else as often: in a body, they count where the value has the shape of a secret."""

FIELDS = _words(
    """(?:[a-z0-9]+[_-])*api[_-]?key (?:[a-z0-9]+[_-])*secret[_-]?(?:access[_-]?)?key
    access[_-]?token
    refresh[_-]?token id[_-]?token auth[_-]?token bearer[_-]?token session[_-]?token security[_-]?token
    client[_-]?secret private[_-]?key(?:[_-]?pem)? password passwd passphrase authorization proxy-authorization
    x-goog-api-key client[_-]?assertion app[_-]?secret webhook[_-]?secret connection[_-]?string
    secret(?:access|string)[_-]?(?:key)? cookie set-cookie"""
)
"""Fields of JSON whose text is a credential. Not `signature` or `encrypted_content`, which providers stream."""

_ENVIRONMENT = re.compile(
    r"(?i)(?:KEYS?|TOKENS?|SECRETS?|PASSW(?:OR)?DS?|PASSPHRASE|CREDENTIALS?|(?:^|_)(?:AUTH|COOKIE|DSN|PAT|PASS))"
    r"(?:_|$|\d)"
)
_LOUD = re.compile(r"(?i)PASSW(?:OR)?D|PASSPHRASE")

# ---- Shapes ---------------------------------------------------------------------------------------------------------

_DUMMY = re.compile(
    r"""(?ix)(?:sk|pk|test(?:ing|s)?|dummy|fake|mock(?:ed)?|stub|placeholder|example|sample|redacted|removed|filtered|
    scrubbed|hidden|masked|censored|api|keys?|tokens?|secrets?|passwords?|pass|user(?:name)?|auth(?:orization)?|
    bearer|basic|not|no|none|null|nil|true|false|needed|required|used|unused|empty|your|my|the|an?|here|goes|real|
    insert|change|me|this|lm|studio|ollama|local(?:host)?|vllm|llama|cpp|any(?:thing)?|some(?:thing)?|value|valid|
    invalid|wrong|bad|foo|bar|baz|qux|openai|anthropic|gemini|google|azure|x++|\d++|[\x00-/:-@\[-`{-\x7f]++)+"""
)
_LONG = 200
_WORD = re.compile(r"[a-z]{1,16}|[A-Z][a-z]{0,15}|[A-Z]{1,16}|\d+|[A-Za-z0-9]{1,3}")
_PARTS = re.compile(r"[^A-Za-z0-9]+")
_NOT_SECRET = re.compile(
    r"(?:[-+]?[\d.,_]+(?:[eE][-+]?\d+)?|(?i:true|false|yes|no|on|off|none|null)"
    r"|\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[-+]\d\d:?\d\d)?)?"
    r"|(?:~|\.{1,2})?/(?:[\w.@+ -]+/)*[\w.@+ -]*|[A-Za-z]:\\.*)"
)


def is_dummy(text: str) -> bool:
    """Tell whether a text is made of words, digits and signs that stand where a credential would: `sk-test-123`."""
    return len(text) < _LONG and bool(_DUMMY.fullmatch(text))


def is_worth_hunting(text: str) -> bool:
    """Tell whether a credential is long and rare enough to be looked for anywhere."""
    if len(text) < SHORTEST or PLACEHOLDER in text or not text.strip():
        return False
    return not _NOT_SECRET.fullmatch(text) and not is_dummy(text)


def has_shape(text: str) -> bool:
    """Tell whether a text looks random: not words, numbers, dates, versions or a path, nor a stand-in."""
    if not is_worth_hunting(text):
        return False
    return not all(_WORD.fullmatch(part) for part in _PARTS.split(text) if part)


def is_random(text: str) -> bool:
    """Tell whether a text looks random where code may stand as well: a long run of letters with digits in it."""
    runs = re.findall(r"[A-Za-z0-9+/]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    return has_shape(text) and any(len(re.findall(r"\d", run)) > 1 and not run.isdigit() for run in runs)


def is_secret_header(name: str, value: str) -> bool:
    """Tell whether a header is a credential, by its name; for a name that only sounds so, by its value too."""
    if name in HEADERS:
        return True
    words = name.split("-") if "-" in name else name.split("_")
    if _HARMLESS_WORDS.intersection(words):
        return False
    if _DOUBTFUL_WORDS.intersection(words):
        return has_shape(value)
    sounds = _SECRET_WORDS.intersection(words) or ("key" in words and {"api", "access", "subscription"} & {*words})
    return bool(sounds) and not _NOT_SECRET.fullmatch(value.strip())


def spellings(text: str) -> Iterator[bytes]:
    """Yield the bytes to look for to find a value: as it is, as a form field has its spaces, without percent signs."""
    yield text.encode("utf-8", "surrogatepass")
    if " " in text:
        yield quote_plus(text).encode()
        yield text.replace(" ", "+").encode("utf-8", "surrogatepass")
    if (decoded := unquote(text)) != text and is_worth_hunting(decoded):
        yield decoded.encode()


# ---- Environment ----------------------------------------------------------------------------------------------------


def environment_secrets(environ: Mapping[str, str]) -> set[str]:
    """Return the values of variables that look secret by name and value, and the passwords in URLs of any."""
    found: set[str] = set()
    for name, value in environ.items():
        found.update(url_credentials(value))
        if not _ENVIRONMENT.search(name):
            continue
        for text in (value.strip(), *_texts_of_json(value)):
            if has_shape(text) or (_LOUD.search(name) and is_worth_hunting(text)):
                found.add(text)
    return found


def url_credentials(text: str) -> Iterator[str]:
    """Yield the password in a URL, and the user where it looks like a key."""
    if "://" not in text or "@" not in text:
        return
    try:
        parts = urlsplit(text)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return
    if is_worth_hunting(password):
        yield password
    if has_shape(user):
        yield user


def _texts_of_json(value: str) -> Iterator[str]:
    """Yield the secret fields of a service account, which some keep as JSON in a variable."""
    if not value.lstrip().startswith("{"):
        return
    try:
        document = json.loads(value)
    except ValueError:
        return
    named = re.compile("|".join(FIELDS), re.IGNORECASE)
    for name, text in document.items():
        if isinstance(text, str) and (named.fullmatch(name) or name == "private_key_id"):
            yield text


# ---- Forms of keys --------------------------------------------------------------------------------------------------


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
