from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack.utils import Secret
from runner import TOOLS

PACKAGES = ["haystack-ai", "openai"]


def ask(seen, url, model, tools):
    used = [0, 0]

    def show(chunk):
        if chunk.tool_call_result is None:
            seen.text(chunk.content)
            seen.reasoning(chunk.reasoning and chunk.reasoning.reasoning_text)
            seen.finish(chunk.finish_reason)

    options = {"generation_kwargs": {"stream_options": {"include_usage": True}}, "max_retries": 0}
    chat = OpenAIChatGenerator(Secret.from_token("none"), model, api_base_url=url, streaming_callback=show, **options)
    asked = [ChatMessage.from_user("Go on.")]
    if not tools:
        replies = chat.run(asked)["replies"]
    else:
        own = [Tool(tool.__name__, tool.__name__, TOOLS[tool.__name__], tool) for tool in seen.tools]
        replies = Agent(chat_generator=chat, tools=own, streaming_callback=show, max_agent_steps=10).run(asked)[
            "messages"
        ]
    for one in (reply.meta.get("usage") for reply in replies):
        used = [used[0] + one["prompt_tokens"], used[1] + one["completion_tokens"]] if one else used
    if used != [0, 0]:
        seen.usage(*used)
