from mirascope import llm

PACKAGES = ["mirascope", "openai"]


def ask(seen, url, model, tools):
    llm.register_provider("openai:completions", scope="openai/", base_url=url, api_key="none")
    own = [llm.tool(one) for one in seen.tools] if tools else []
    response, used = llm.model(f"openai/{model}:completions").stream("Go on.", tools=own), [0, 0]
    while True:
        for chunk in response.chunk_stream():
            if chunk.type == "text_chunk":
                seen.text(chunk.delta)
            elif chunk.type == "thought_chunk":
                seen.reasoning(chunk.delta)
        seen.finish(response.finish_reason)
        if response.usage:
            used = [used[0] + response.usage.input_tokens, used[1] + response.usage.output_tokens]
            seen.usage(*used)
        if not response.tool_calls:
            return
        response = response.resume(response.execute_tools())
