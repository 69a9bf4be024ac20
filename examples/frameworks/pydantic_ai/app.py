"""An app on Pydantic AI that streams the answer to a question."""

from pydantic_ai import Agent


class IncompleteAnswerError(Exception):
    """The stream ended before the model had finished."""


async def answer(question, model="openai:gpt-4o"):
    """Yield the answer as it comes."""
    async with Agent(model).run_stream(question, model_settings={"timeout": 30}) as run:
        async for text in run.stream_text(delta=True, debounce_by=None):
            yield text
    if run.response.finish_reason != "stop":  # a connection that ends in the middle looks to Pydantic AI like the end
        raise IncompleteAnswerError(run.response.finish_reason)
