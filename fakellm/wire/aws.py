"""What the SDKs of AWS look for before they ask a model: credentials and a region in the environment, else elsewhere.

Source: https://docs.aws.amazon.com/boto3/latest/guide/credentials.html, and botocore's own chain. Keys in the
environment come before files, SSO, and the services of a machine or a container, so that with them nobody else is
asked; an app that names a profile, or assumes a role, still asks those.
"""

from __future__ import annotations

import re

ENVIRONMENT = (
    ("AWS_ACCESS_KEY_ID", "fake-key-of-fakellm"),
    ("AWS_SECRET_ACCESS_KEY", "fake-key-of-fakellm"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
)
"""The variables that they ask for, and a value for each that is not there."""

CREDENTIALS = re.compile(
    r"^(169\.254\.169\.254|169\.254\.170\.(2|23)|fd00:ec2::(254|23)|"
    r"(sts|oidc|portal\.sso|sso|signin|cognito-identity)([.-][\w-]+)*\.(amazonaws\.com(\.cn)?|api\.aws))$"
)
"""The hosts that they ask for credentials otherwise: the metadata of a machine or container, STS, SSO."""
