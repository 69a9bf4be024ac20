from agno.agent import Agent
from agno.models.openai.like import OpenAILike

PACKAGES = ["agno", "openai"]


def ask(seen, url, model, tools):
    chat = OpenAILike(id=model, base_url=url, max_retries=0)
    agent = Agent(model=chat, tools=list(seen.tools) if tools else None, telemetry=False)
    for event in agent.run("Go on.", stream=True, stream_events=True):
        if event.event == "RunContent":
            seen.text(event.content)
            seen.reasoning(event.reasoning_content)
        elif event.event == "RunError":
            raise RuntimeError(f"RunErrorEvent: {event.content}")
        elif event.event == "RunCompleted":
            seen.usage(event.metrics.input_tokens, event.metrics.output_tokens)
