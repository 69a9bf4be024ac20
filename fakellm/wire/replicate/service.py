"""Replicate: predictions of models, versions and deployments, and where their output is fetched.

Source: https://replicate.com/docs/reference/http and /docs/topics/predictions/streaming, the SDK's own client, and
recorded streams.
"""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.replicate"
_MODEL = r"/v1/models/[^/]+/[^/]+"
_CODEC = f"{_HERE}.predictions:PredictionsCodec"

SERVICE = Service(
    "replicate",
    re.compile(r"^([\w-]+\.)*replicate\.(com|net)$"),
    (
        endpoint("replicate.predictions", r"/v1/((models|deployments)/[^/]+/[^/]+/)?predictions$", _CODEC),
        endpoint("replicate.stream", r"/v1/(streams/[\w-]+|files/\w+-[a-z2-7]{40,})$", _CODEC, method="GET"),
        endpoint("replicate.prediction", r"/v1/predictions/[\w-]+$", _CODEC, method="GET"),
        endpoint("replicate.cancel", r"/v1/predictions/[\w-]+/cancel$", _CODEC),
        document("replicate.version", rf"{_MODEL}/versions/[^/]+$", f"{_HERE}.documents:version", method="GET"),
        document("replicate.model", rf"{_MODEL}$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("REPLICATE_API_TOKEN",),
    base_url="REPLICATE_BASE_URL",
    fetched=re.compile(r"/v1/(?:streams|predictions)/([\w-]+)(?:/cancel)?$"),
)
