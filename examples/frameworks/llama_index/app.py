"""An app on LlamaIndex that streams the answer to a question."""

from llama_index.llms.openai import OpenAI


class IncompleteAnswerError(Exception):
    """The stream ended before the model had finished."""


def answer(question, model="gpt-4o"):
    """Yield the answer as it comes."""
    reason = None
    for response in OpenAI(model=model, timeout=30, max_retries=0).stream_complete(question):
        yield response.delta
        reason = next((choice.finish_reason for choice in response.raw.choices), None) or reason
    if reason != "stop":  # a connection that ends cleanly in the middle looks to LlamaIndex like the end
        raise IncompleteAnswerError(reason)
