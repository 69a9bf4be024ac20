"""An app on the OpenAI Agents SDK that streams the answer to a question."""

from agents import Agent, Runner
from openai.types.responses import ResponseTextDeltaEvent


async def answer(question, model="gpt-4o"):
    """Yield the answer as it comes. The SDK raises `ModelBehaviorError` if it ends before the model had finished."""
    agent = Agent(name="Assistant", model=model)
    async for event in Runner.run_streamed(agent, question).stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            yield event.data.delta
