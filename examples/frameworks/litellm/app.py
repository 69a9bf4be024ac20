"""An app on LiteLLM that streams the answer to a question."""

import litellm


class IncompleteAnswerError(Exception):
    """The stream ended before the model had finished."""


async def answer(question, model="openai/gpt-4o"):
    """Yield the answer as it comes."""
    messages = [{"role": "user", "content": question}]
    whole, reason = "", None
    async for chunk in await litellm.acompletion(model, messages, stream=True, timeout=30, max_retries=0):
        whole += chunk.choices[0].delta.content or ""
        yield chunk.choices[0].delta.content or ""
        reason = chunk.choices[0].finish_reason or reason
    if not whole or reason != "stop":  # LiteLLM ends an answer that never began with the reason "stop"
        raise IncompleteAnswerError(reason)
