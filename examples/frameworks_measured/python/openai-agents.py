import openai
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool
from agents.tracing import set_tracing_disabled

PACKAGES = ["openai-agents", "openai"]


async def ask(seen, url, model, tools):
    set_tracing_disabled(disabled=True)
    chat = OpenAIChatCompletionsModel(model, openai.AsyncOpenAI(base_url=url, max_retries=0))
    settings = ModelSettings(include_usage=True)
    tools = [function_tool(tool) for tool in seen.tools] if tools else []
    result = Runner.run_streamed(Agent("app", model=chat, model_settings=settings, tools=tools), "Go on.")
    try:
        async for event in result.stream_events():
            if event.type != "raw_response_event":
                continue
            if event.data.type == "response.output_text.delta":
                seen.text(event.data.delta)
            elif event.data.type in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
                seen.reasoning(event.data.delta)
            elif event.data.type in ("response.completed", "response.incomplete"):
                seen.finish(event.data.response.status)
    finally:
        seen.usage(result.context_wrapper.usage.input_tokens, result.context_wrapper.usage.output_tokens)
