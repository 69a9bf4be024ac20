import litellm
from runner import SPECS

PACKAGES = ["litellm", "openai"]


def ask(seen, url, model, tools):
    litellm.suppress_debug_info = litellm.disable_hf_tokenizer_download = True
    messages, calls = [{"role": "user", "content": "Go on."}], True
    used = [0, 0]
    while calls:
        chunks = []
        options = {"stream": True, "max_retries": 0, "stream_options": {"include_usage": True}}
        for chunk in litellm.completion(
            f"openai/{model}", messages, base_url=url, tools=SPECS if tools else None, **options
        ):
            chunks.append(chunk)
            for choice in chunk.choices:
                seen.text(choice.delta.content, choice.index)
                seen.reasoning(getattr(choice.delta, "reasoning_content", None))
                seen.finish(None if choice.index else choice.finish_reason)
        whole = litellm.stream_chunk_builder(chunks, messages=messages)
        if whole.usage:
            used = [used[0] + whole.usage.prompt_tokens, used[1] + whole.usage.completion_tokens]
            seen.usage(*used)
        message = whole.choices[0].message
        calls = message.tool_calls or []
        messages.append(message.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": seen.run(call.function.name, call.function.arguments)}
            for call in calls
        ]
