"""OpenAI as a service, on its own hosts and on Azure's; and where other services speak its API.

Source: https://learn.microsoft.com/azure/ai-foundry/foundry-models/concepts/endpoints, and for the paths at Google
https://ai.google.dev/gemini-api/docs/openai and the page migrate/openai/overview of Vertex AI.
"""

from __future__ import annotations

import re

from fakellm.wire.clouds import AZURE, TOKENS
from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.openai"
_AZURE = r"(openai|cognitiveservices|services\.ai|models\.ai|inference\.ai)\.azure\.(com|us|cn)"
_NOT_MISTRALS = r"^(?!.*/(fim|agents)/completions$).*"

SERVICE = Service(
    "openai",
    re.compile(rf"^([\w-]+\.)*(openai\.com|{_AZURE})$"),
    (
        endpoint("openai.chat", r"/chat/completions$", f"{_HERE}.chat:ChatCodec", rules=f"{_HERE}.chat_rules:RULES"),
        endpoint(
            "openai.completions",
            rf"{_NOT_MISTRALS}/completions$",
            f"{_HERE}.completions:CompletionsCodec",
            rules=f"{_HERE}.completions_rules:RULES",
        ),
        endpoint(
            "openai.responses",
            r"/responses$",
            f"{_HERE}.responses:ResponsesCodec",
            rules=f"{_HERE}.responses_rules:RULES",
        ),
        document("openai.embeddings", r"/embeddings$", f"{_HERE}.documents:embeddings"),
        document("openai.models", r"/models$", f"{_HERE}.documents:models", method="GET"),
        document("openai.info", r"^(/models|/openai/deployments/[^/]+)?/info$", f"{_HERE}.azure:info", method="GET"),
        document("openai.model", r"/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
        document("cerebras.warming", r"/v1/tcp_warming$", f"{_HERE}.documents:warming", method="GET"),
    ),
    keys=("OPENAI_API_KEY",),
    base_url="OPENAI_BASE_URL",
    base_path="/v1",
    environment=AZURE,
    tokens=TOKENS,
    profiles=f"{_HERE}.profiles:PROFILES",
    error_events=(True, False),  # services that speak its API send either
    guest=re.compile(r"^generativelanguage\.googleapis\.com/\w+/openai/|aiplatform[\w.]*\.googleapis\.com/.*/openapi/"),
    alike=re.compile(
        r"^([\w-]+\.)*(models\.github\.ai|mistral\.ai|groq\.com|deepseek\.com|x\.ai|together\.(xyz|ai)|fireworks\.ai|"
        r"perplexity\.ai|openrouter\.ai|cerebras\.ai|nvidia\.com|sambanova\.ai|deepinfra\.com|moonshot\.(ai|cn)|z\.ai|"
        r"bigmodel\.cn|dashscope\.aliyuncs\.com|router\.huggingface\.co|ai21\.com|api\.llama\.com|portkey\.ai)$"
    ),
    habits=(
        (_AZURE, "azure"),
        (r"models\.github\.ai", "github-models"),
        (r"mistral\.ai", "mistral"),
        (r"groq\.com", "groq"),
        (r"deepseek\.com", "deepseek"),
        (r"x\.ai", "xai"),
        (r"perplexity\.ai", "perplexity"),
        (r"openrouter\.ai", "openrouter"),
        (r"cerebras\.ai", "cerebras"),
        (r"router\.huggingface\.co", "huggingface"),
        (r"z\.ai", "zai"),
        (r"bigmodel\.cn", "zai"),
        (r"avian\.io", "avian"),
    ),
    clients=(
        ("groq", "GROQ_API_KEY"),
        ("together", "TOGETHER_API_KEY"),
        ("cerebras", "CEREBRAS_API_KEY"),
        ("fireworks", "FIREWORKS_API_KEY"),
        ("perplexity", "PERPLEXITY_API_KEY"),
        ("sambanova", "SAMBANOVA_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("zai", "ZAI_API_KEY"),
        ("zhipuai", "ZHIPUAI_API_KEY"),
        ("ai21", "AI21_API_KEY"),
        ("portkey_ai", "PORTKEY_API_KEY"),
    ),
    quotas=f"{_HERE}.quotas:OpenAIQuotas",
)
