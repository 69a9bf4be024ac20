from llama_index.core.agent.workflow import AgentOutput, AgentStream, FunctionAgent
from llama_index.llms.openai_like import OpenAILike

PACKAGES = ["llama-index-llms-openai-like", "llama-index-llms-openai", "llama-index-core", "openai"]


async def ask(seen, url, model, tools):
    options = {"is_chat_model": True, "is_function_calling_model": True, "max_retries": 0}
    options["additional_kwargs"] = {"stream_options": {"include_usage": True}}
    chat = OpenAILike(model=model, api_base=url, api_key="none", **options)
    handler = FunctionAgent(llm=chat, tools=list(seen.tools) if tools else [], streaming=True).run("Go on.")
    used = [0, 0]
    async for event in handler.stream_events():
        if isinstance(event, AgentStream):
            seen.text(event.delta)
            seen.reasoning(event.thinking_delta)
        if not isinstance(event, (AgentStream, AgentOutput)) or not event.raw:
            continue
        raw = event.raw if isinstance(event.raw, dict) else event.raw.model_dump()
        for choice in raw.get("choices") or ():
            seen.finish(choice["finish_reason"])
        if isinstance(event, AgentOutput) and raw.get("usage"):
            used = [used[0] + raw["usage"]["prompt_tokens"], used[1] + raw["usage"]["completion_tokens"]]
            seen.usage(*used)
    await handler
