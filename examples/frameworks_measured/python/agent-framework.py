import openai
from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient

PACKAGES = ["agent-framework-openai", "agent-framework-core", "openai"]


async def ask(seen, url, model, tools):
    chat = OpenAIChatCompletionClient(model=model, async_client=openai.AsyncOpenAI(base_url=url, max_retries=0))
    agent = Agent(chat, tools=list(seen.tools) if tools else None)
    stream = agent.run("Go on.", stream=True)
    async for update in stream:
        seen.text(update.text)
        for content in update.contents:
            if content.type == "text_reasoning":
                seen.reasoning(content.text)
        seen.finish(update.finish_reason)
    whole = await stream.get_final_response()
    if whole.usage_details:
        seen.usage(whole.usage_details.get("input_token_count"), whole.usage_details.get("output_token_count"))
