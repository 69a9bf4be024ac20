import openai
from pydantic_ai import Agent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta, ThinkingPart, ThinkingPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

PACKAGES = ["pydantic-ai-slim", "openai"]


def show(seen, event):
    if isinstance(event, PartStartEvent) and isinstance(event.part, (TextPart, ThinkingPart)):
        (seen.text if isinstance(event.part, TextPart) else seen.reasoning)(event.part.content)
    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, (TextPartDelta, ThinkingPartDelta)):
        (seen.text if isinstance(event.delta, TextPartDelta) else seen.reasoning)(event.delta.content_delta)


async def ask(seen, url, model, tools):
    provider = OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url=url, max_retries=0))
    agent = Agent(OpenAIChatModel(model, provider=provider), tools=seen.tools if tools else [])
    async with agent.iter("Go on.") as run:
        async for node in run:
            if not Agent.is_model_request_node(node):
                continue
            async with node.stream(run.ctx) as stream:
                async for event in stream:
                    show(seen, event)
                seen.finish(stream.response.finish_reason)
            seen.usage(run.usage.input_tokens, run.usage.output_tokens)
