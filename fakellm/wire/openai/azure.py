"""What Azure says beside OpenAI's answers: what its content filters found, its model's deployment, its errors.

Source: 11 recorded streams, https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter, and the
documents of errors in public reports. A first chunk has no choices, and what was found of the prompt; each choice has
what was found of its piece, and `{}` for a piece without text. A prompt that is filtered is answered by a 400 of the
code `content_filter`, which an inner error explains; what the gateway refuses has an error of a code and a message.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from fakellm.script.events import http_error
from fakellm.wire.objects import text_field
from fakellm.wire.openai.profiles import Profile

SAFE: dict[str, Any] = {
    "hate": {"filtered": False, "severity": "safe"},
    "self_harm": {"filtered": False, "severity": "safe"},
    "sexual": {"filtered": False, "severity": "safe"},
    "violence": {"filtered": False, "severity": "safe"},
}
"""What is found of a text that is harmless."""
_DETECTED = ("jailbreak", "indirect_attack", "protected_material_text", "protected_material_code", "profanity")
PROMPT = [{"prompt_index": 0, "content_filter_results": {**SAFE, "jailbreak": {"filtered": False, "detected": False}}}]
"""What is found of a prompt that is harmless."""
PRELUDE: dict[str, Any] = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": PROMPT,
}
"""The first chunk of a stream."""

_GATEWAY = {401: "401", 403: "403", 404: "DeploymentNotFound", 408: "Timeout", 429: "429"}
"""The statuses that the gateway answers with -> the code of its error."""
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry. To learn more about our content filtering policies please read our documentation: "
    "https://go.microsoft.com/fwlink/?linkid=2198766"
)
_UNSAID = http_error(400).message
_DEPLOYMENT = re.compile(r"/deployments/([^/?]+)/")


def model_of(body: dict[str, Any], path: str, profile: Profile) -> str:
    """Return the model of a request, which its path may name; nothing where the request has to."""
    usual = "default" if profile.filters else ""  # at an endpoint of Azure's that serves one model
    return text_field(body, "model") or deployment_of(path) or usual


def deployment_of(path: str) -> str:
    """Return the deployment that a path names, or nothing."""
    found = _DEPLOYMENT.search(path)
    return unquote(found[1]) if found else ""


def info(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer `GET /info`, which tells what an endpoint serves."""
    name = deployment_of(path) or "default"
    return {"model_name": name, "model_type": "chat-completion", "model_provider_name": "fakellm"}


def error_document(fault: http_error) -> dict[str, Any] | None:
    """Return the document of an error that is not as OpenAI words it, or None.

    The kind of an error of the code `content_filter` may be what the prompt was filtered for: `violence`, `jailbreak`.
    """
    if fault.code == "content_filter" and fault.status == 400:  # noqa: PLR2004 - RFC 9110, 15.5.1
        return {"error": _filtered(fault)}
    if fault.status in _GATEWAY and fault.kind is None:
        return {"error": {"code": fault.code or _GATEWAY[fault.status], "message": fault.message}}
    return None


def _filtered(fault: http_error) -> dict[str, Any]:
    name = fault.kind or "hate"
    found = {"filtered": True, "detected": True} if name in _DETECTED else {"filtered": True, "severity": "high"}
    results = {**PROMPT[0]["content_filter_results"], name: found}  # type: ignore[dict-item]
    return {
        "message": _FILTERED if fault.message == _UNSAID else fault.message,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results},
    }
