"""What the SDKs of Google and Microsoft look for before they ask a model of their clouds: credentials and tokens.

Source: https://google.aip.dev/auth/4110 and google-auth's own chain, https://learn.microsoft.com/python/api/azure-identity
and its chain. Credentials that the environment names come first, so that with them nobody else is asked: no metadata
of a machine, no command line. What is named there is exchanged for a token; who gives those is answered by
`fakellm.http.tokens`.
"""

from __future__ import annotations

import re
from pathlib import Path

KEY = "fake-key-of-fakellm"
PROJECT = "fake-project-of-fakellm"

GOOGLE = (
    ("GOOGLE_APPLICATION_CREDENTIALS", str(Path(__file__).with_name("google_credentials.json"))),
    ("GOOGLE_CLOUD_PROJECT", PROJECT),
)
CLAUDE = (("ANTHROPIC_VERTEX_PROJECT_ID", PROJECT), ("CLOUD_ML_REGION", "global"))
AZURE = (
    ("AZURE_OPENAI_API_KEY", KEY),
    ("AZURE_CLIENT_ID", "00000000-0000-4000-8000-000000000001"),
    ("AZURE_TENANT_ID", "00000000-0000-4000-8000-000000000002"),
    ("AZURE_CLIENT_SECRET", KEY),
)
FOUNDRY = (("ANTHROPIC_FOUNDRY_API_KEY", KEY), *AZURE[1:])
"""The variables that they ask for, and a value for each that is not there."""

METADATA = re.compile(r"^(169\.254\.169\.254|metadata\.google\.internal|metadata\.goog)$")
"""The hosts that they ask for credentials otherwise: the metadata of a machine, which may be none of a cloud."""

TOKENS = re.compile(
    r"^(oauth2|sts|www|iamcredentials)\.googleapis\.com$|^accounts\.google\.com$|"
    r"^login\.(microsoftonline\.(com|us)|windows\.net|chinacloudapi\.cn|partner\.microsoftonline\.cn)$"
)
"""The hosts that give a token for credentials."""
