"""Names that say that what they name is a secret: headers, parameters, fields, variables of the environment.

They are those of the HTTP standards and of the providers' own API documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_plus, unquote, urlsplit

from fakellm.secrets.shapes import NOT_SECRET, has_shape, is_worth_hunting


def _words(text: str) -> list[str]:
    return text.split()


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

RANDOM_PARAMETERS = frozenset(("code",))
"""Those that are a secret where they look random only: `?code=summer2026sale` is none."""

FIELDS = _words(
    """(?:[a-z0-9]+[_-])*api[_-]?key (?:[a-z0-9]+[_-])*secret[_-]?(?:access[_-]?)?key
    access[_-]?token
    refresh[_-]?token id[_-]?token auth[_-]?token bearer[_-]?token session[_-]?token security[_-]?token
    client[_-]?secret private[_-]?key(?:[_-]?pem)? password passwd passphrase authorization proxy-authorization
    x-goog-api-key client[_-]?assertion app[_-]?secret webhook[_-]?secret connection[_-]?string
    secret(?:access|string)[_-]?(?:key)? cookie set-cookie"""
)
"""Fields of JSON whose text is a credential. Not `signature` or `encrypted_content`, which providers stream."""

HUMAN_FIELDS = frozenset(
    _words("password passwd passphrase pwd cookie set-cookie authorization proxy-authorization token secret auth")
)
"""Fields that are data in an answer: what a tool is called with, what a page says."""

_SECRET_NAMES = frozenset(
    _words("""secret password passwd passphrase pwd credential credentials authorization apikey authtoken accesstoken
    privatekey secretkey accesskey pat""")
)
_KEY_OF = frozenset(
    _words("""api access auth account admin app application client encryption license licence master private
    preshared service shared signing storage subscription webhook org team deploy session functions secret""")
)
_NO_TOKEN_OF = frozenset(
    _words("""page next prev previous sync cursor pagination continuation resume device mask pad eos bos special start
    end stop change max min num text first last top output input prompt completion snapshot""")
)
_ABOUT = frozenset(
    _words("name length len size count type field file path url uri arn version algorithm policy hint reset")
)
_NAME_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_ENVIRONMENT = re.compile(
    r"(?i)(?:KEYS?|TOKENS?|SECRETS?|PASSW(?:OR)?DS?|PASSPHRASE|CREDENTIALS?|(?:^|_)(?:AUTH|COOKIE|DSN|PAT|PASS))"
    r"(?:_|$|\d)"
)
_LOUD = re.compile(r"(?i)PASSW(?:OR)?D|PASSPHRASE")


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
    return bool(sounds) and not NOT_SECRET.fullmatch(value.strip())


def is_secret_name(name: str) -> bool:
    """Tell whether a variable holds a secret, by its name: `GROQ_API_KEY`, `dropboxToken`, not `cache_key`."""
    words = [word.lower() for word in _NAME_WORDS.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    if _SECRET_NAMES.intersection(words) or ("key" in words and _KEY_OF.intersection(words)):
        return True
    return "token" in words and not _NO_TOKEN_OF.intersection(words)


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
