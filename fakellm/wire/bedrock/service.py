"""Amazon Bedrock as a service: its runtime, and the lists of models of its control plane.

Source: botocore's service models of bedrock-runtime and bedrock, and their endpoint rules.
"""

from __future__ import annotations

import re

from fakellm.wire.aws import CREDENTIALS, ENVIRONMENT
from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.bedrock"

SERVICE = Service(
    "bedrock",
    re.compile(r"^([\w-]+\.)*bedrock(-runtime)?(-fips)?\.[\w-]+\.(vpce\.)?(amazonaws\.com(\.cn)?|api\.aws)$"),
    (
        endpoint(
            "bedrock.converse",
            r"/model/[^/]*/converse(-stream)?$",
            f"{_HERE}.converse:ConverseCodec",
            rules=f"{_HERE}.rules:RULES",
        ),
        endpoint("bedrock.invoke", r"/model/[^/]*/invoke(-with-response-stream)?$", f"{_HERE}.invoke:InvokeCodec"),
        document("bedrock.tokens", r"/model/[^/]+/count-tokens$", f"{_HERE}.documents:tokens"),
        document("bedrock.models", r"/foundation-models$", f"{_HERE}.documents:models", method="GET"),
        document("bedrock.model", r"/foundation-models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
        document("bedrock.profiles", r"/inference-profiles$", f"{_HERE}.documents:profiles", method="GET"),
    ),
    base_url="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    error_events=(None, True),
    signs=("amz-sdk-invocation-id",),
    environment=ENVIRONMENT,
    credentials=CREDENTIALS,
)
