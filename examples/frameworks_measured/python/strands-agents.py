from strands import Agent, tool
from strands.models.openai import OpenAIModel

PACKAGES = ["strands-agents", "openai"]


async def ask(seen, url, model, tools):
    chat = OpenAIModel(client_args={"base_url": url, "api_key": "none", "max_retries": 0}, model_id=model)
    agent = Agent(
        chat, tools=[tool(one) for one in seen.tools] if tools else [], callback_handler=None, retry_strategy=None
    )
    async for event in agent.stream_async("Go on."):
        seen.text(event.get("data"))
        seen.reasoning(event.get("reasoningText"))
        if "result" in event:
            seen.finish(event["result"].stop_reason)
            used = event["result"].metrics.accumulated_usage
            seen.usage(used["inputTokens"], used["outputTokens"])
