"""Clients that speak an API of their provider's own."""

from __future__ import annotations

from asking import FUNCTION, SCHEMA, SECONDS, TOOLS, arguments_of, asked, awaited, client, get, said


def of_responses(event):
    if event.type == "response.output_text.delta":
        yield "text", event.delta
    elif event.type == "response.output_item.added":
        yield "call", event.output_index, get(event.item, "name"), ""
    elif event.type == "response.function_call_arguments.delta":
        yield "call", event.output_index, "", event.delta
    elif event.type == "response.completed":
        yield "finish", get(event.response, "status")
        if usage := get(event.response, "usage"):
            yield "usage", usage.input_tokens, usage.output_tokens


@client("openai responses", "responses", of_responses)
def responses(url, prompt):
    from openai import OpenAI

    made = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.responses.create(model="m", input=prompt, tools=[{"type": "function", **FUNCTION}], stream=True)


def of_anthropic(event):
    if event.type == "message_start":
        yield "usage", event.message.usage.input_tokens, None
    elif event.type == "content_block_start":
        yield "call", event.index, get(event.content_block, "name"), ""
    elif event.type == "content_block_delta":
        yield "text", get(event.delta, "text")
        yield "call", event.index, "", get(event.delta, "partial_json")
    elif event.type == "message_delta":
        yield "finish", get(event.delta, "stop_reason")
        yield "usage", None, get(event.usage, "output_tokens")


@client("anthropic", "messages", of_anthropic)
def anthropic(url, prompt):
    from anthropic import Anthropic

    made = Anthropic(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    tools = [{"name": FUNCTION["name"], "input_schema": SCHEMA}]
    return made.messages.create(model="m", max_tokens=99, messages=said(prompt), tools=tools, stream=True)


def of_gemini(chunk):
    for candidate in chunk.candidates or ():
        for part in (candidate.content and candidate.content.parts) or ():
            yield "text", part.text
            if call := part.function_call:
                yield "call", call.name, call.name, arguments_of(call.args)
        yield "finish", candidate.finish_reason and candidate.finish_reason.value
    if usage := chunk.usage_metadata:
        yield "usage", usage.prompt_token_count, usage.candidates_token_count


def _gemini(url):
    from google.genai import Client

    return Client(api_key="none", http_options={"base_url": url, "timeout": 1000 * SECONDS})


def _contents(prompt):
    return {"model": "m", "contents": prompt, "config": {"tools": [{"function_declarations": [FUNCTION]}]}}


@client("google-genai", "gemini", of_gemini)
def gemini(url, prompt):
    made = _gemini(url)  # which has to be held, or its connections are closed
    yield from made.models.generate_content_stream(**_contents(prompt))


@client("google-genai async", "gemini", of_gemini)
def gemini_async(url, prompt):
    made = _gemini(url).aio  # on httpx where aiohttp is not installed
    return awaited(lambda: made.models.generate_content_stream(**_contents(prompt)), closing=made.aclose)


@client("google-genai aiohttp", "gemini", of_gemini)
def gemini_aiohttp(url, prompt):
    made = _gemini(url).aio  # on aiohttp where it is installed
    return awaited(lambda: made.models.generate_content_stream(**_contents(prompt)), closing=made.aclose)


def of_cohere(event):
    if event.type == "content-delta":
        yield "text", get(get(get(event.delta, "message"), "content"), "text")
    elif event.type in ("tool-call-start", "tool-call-delta"):
        function = event.delta.message.tool_calls.function
        yield "call", event.index, get(function, "name"), function.arguments
    elif event.type == "message-end":
        yield "finish", get(event.delta, "finish_reason")
        if tokens := get(get(event.delta, "usage"), "tokens"):
            yield "usage", int(tokens.input_tokens), int(tokens.output_tokens)


@client("cohere", "cohere", of_cohere)
def cohere(url, prompt):
    import cohere

    made = cohere.ClientV2(base_url=url, api_key="none", timeout=SECONDS, log_warning_experimental_features=False)
    return made.chat_stream(model="m", messages=said(prompt), tools=TOOLS, request_options={"max_retries": 0})


def of_ollama(chunk):
    yield "text", get(chunk.message, "content")
    for call in get(chunk.message, "tool_calls") or ():
        yield "call", call.function.name, call.function.name, arguments_of(call.function.arguments)
    yield "finish", chunk.done_reason
    if chunk.done:
        yield "usage", chunk.prompt_eval_count, chunk.eval_count


@client("ollama", "ollama", of_ollama)
def ollama(url, prompt):
    from ollama import Client

    return Client(url, timeout=SECONDS).chat("m", said(prompt), tools=TOOLS, stream=True)


def of_dashscope(answer):
    if answer.status_code != 200:  # what it has in place of exceptions
        yield "error", answer.message
    for choice in get(answer.output, "choices") or ():
        message = get(choice, "message")
        yield "text", get(message, "content")
        for call in get(message, "tool_calls") or ():
            yield "call", call["index"], call["function"].get("name"), call["function"].get("arguments")
        reason = get(choice, "finish_reason")
        yield "finish", reason if reason != "null" else None
    if usage := answer.usage:
        yield "usage", usage["input_tokens"], usage["output_tokens"]


def _generation(prompt):
    more = {"result_format": "message", "incremental_output": True, "api_key": "none"}
    return asked(prompt) | more | {"model": "qwen-plus"}


@client("dashscope", "dashscope", of_dashscope)
def dashscope(url, prompt):
    import dashscope

    dashscope.base_http_api_url = f"{url}/api/v1"
    return dashscope.Generation.call(**_generation(prompt), request_timeout=SECONDS)


@client("dashscope async", "dashscope", of_dashscope)
def dashscope_async(url, prompt):
    import dashscope

    dashscope.base_http_api_url = f"{url}/api/v1"
    return awaited(lambda: dashscope.AioGeneration.call(**_generation(prompt)))


def of_replicate(event):
    if event.event.value == "output":
        yield "text", event.data
    elif event.event.value == "done":
        yield "finish", "done"


@client("replicate", "replicate", of_replicate)
def replicate(url, prompt):
    import replicate

    made = replicate.Client(api_token="none", base_url=url, timeout=SECONDS)  # noqa: S106 - no token
    return made.stream("meta/meta-llama-3-8b-instruct", input={"prompt": prompt})


def of_llama(chunk):
    event = get(chunk, "event")
    yield "text", get(get(event, "delta"), "text")
    if function := get(get(event, "delta"), "function"):
        yield "call", 0, function.name, function.arguments
    yield "finish", get(event, "stop_reason")
    if get(event, "metrics"):
        counts = {metric.metric: int(metric.value) for metric in event.metrics}
        yield "usage", counts.get("num_prompt_tokens"), counts.get("num_completion_tokens")


@client("llama-api-client", "llama", of_llama)
def llama(url, prompt):
    from llama_api_client import LlamaAPIClient

    made = LlamaAPIClient(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt))
