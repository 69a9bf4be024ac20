from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, ThoughtEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient

PACKAGES = ["autogen-ext", "autogen-agentchat", "openai"]


async def ask(seen, url, model, tools):
    info = {
        "vision": False,
        "function_calling": True,
        "json_output": False,
        "family": "unknown",
        "structured_output": False,
    }
    options = {
        "base_url": url,
        "max_retries": 0,
        "include_name_in_message": False,
        "stream_options": {"include_usage": True},
    }
    chat = OpenAIChatCompletionClient(model=model, model_info=info, **options)
    own = list(seen.tools) if tools else None
    agent = AssistantAgent("app", chat, tools=own, model_client_stream=True, reflect_on_tool_use=True)
    used = [0, 0]
    async for event in agent.run_stream(task="Go on."):
        if isinstance(event, ModelClientStreamingChunkEvent):
            seen.text(event.content)
        elif isinstance(event, ThoughtEvent):
            seen.reasoning(event.content)
        elif getattr(event, "models_usage", None):
            used = [used[0] + event.models_usage.prompt_tokens, used[1] + event.models_usage.completion_tokens]
            seen.usage(*used)
        elif hasattr(event, "stop_reason"):
            seen.finish(event.stop_reason)
