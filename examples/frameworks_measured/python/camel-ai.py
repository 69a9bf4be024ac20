from camel.agents import ChatAgent
from camel.models import OpenAICompatibleModel
from camel.utils import BaseTokenCounter

PACKAGES = ["camel-ai", "openai"]


class Counter(BaseTokenCounter):
    """Counts nothing: the one that is built in would be downloaded."""

    def count_tokens_from_messages(self, messages):
        return len(messages)

    def encode(self, text):
        return [0] * len(text)

    def decode(self, token_ids):  # noqa: ARG002
        return ""


def ask(seen, url, model, tools):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chat = OpenAICompatibleModel(model, options, "none", url, Counter(), max_retries=0)
    agent = ChatAgent(None, chat, tools=list(seen.tools) if tools else None, stream_accumulate=False, retry_attempts=1)
    for response in agent.step("Go on."):
        if response.msg is not None:  # one without text is false
            seen.text(response.msg.content)
            seen.reasoning(response.msg.reasoning_content)
        if not response.info.get("streaming"):
            seen.finish(next(iter(response.info.get("finish_reasons") or ()), None))
        used = response.info.get("usage") or {}
        seen.usage(used.get("prompt_tokens"), used.get("completion_tokens"))
