"""An app on LangChain that streams the answer to a question."""

from langchain_openai import ChatOpenAI


class IncompleteAnswerError(Exception):
    """The stream ended before the model had finished."""


def answer(question, model="gpt-4o"):
    """Yield the answer as it comes."""
    reason = None
    for chunk in ChatOpenAI(model=model, timeout=30, max_retries=0).stream(question):
        yield chunk.text
        reason = chunk.response_metadata.get("finish_reason", reason)
    if reason != "stop":  # a connection that ends cleanly in the middle looks to LangChain like the end
        raise IncompleteAnswerError(reason)
