import openai
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function

PACKAGES = ["semantic-kernel", "openai"]


async def ask(seen, url, model, tools):
    chat = OpenAIChatCompletion(model, async_client=openai.AsyncOpenAI(base_url=url, max_retries=0))
    weather, time = seen.tools

    class Plugin:
        @kernel_function(name="get_weather")
        def get_weather(self, city: str) -> str:
            return weather(city)

        @kernel_function(name="get_time")
        def get_time(self) -> str:
            return time()

    agent, used = ChatCompletionAgent(service=chat, name="app", plugins=[Plugin()] if tools else []), [0, 0]
    async for item in agent.invoke_stream("Go on."):
        seen.text(item.message.content, item.message.choice_index)
        seen.finish(item.message.finish_reason)
        if one := item.message.metadata.get("usage"):
            used = [used[0] + (one.prompt_tokens or 0), used[1] + (one.completion_tokens or 0)]
            seen.usage(*used)
