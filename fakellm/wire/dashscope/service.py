"""DashScope, Alibaba Cloud's Model Studio, in its own API: text generation and embeddings of text.

Source: https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope, and the SDK's own client. Below
`/compatible-mode/` the same hosts speak OpenAI's API, which is OpenAI's to answer.
"""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.dashscope"
_SERVICES = r"/services/"

SERVICE = Service(
    "dashscope",
    re.compile(r"^(([\w-]+\.)*dashscope(-[\w-]+)?|[\w-]+\.[\w-]+\.maas)\.aliyuncs\.com$"),
    (
        endpoint(
            "dashscope.generation",
            rf"{_SERVICES}aigc/text-generation/generation$",
            f"{_HERE}.generation:GenerationCodec",
        ),
        document(
            "dashscope.embeddings",
            rf"{_SERVICES}embeddings/text-embedding/text-embedding$",
            f"{_HERE}.documents:embeddings",
        ),
    ),
    keys=("DASHSCOPE_API_KEY",),
    kept=(("dashscope", "api_key"),),
    base_url="DASHSCOPE_HTTP_BASE_URL",
    base_path="/api/v1",
)
