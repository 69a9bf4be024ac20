"""Clients that speak chat completions, OpenAI's own and those of services that look like it."""

from __future__ import annotations

from asking import SECONDS, TOOLS, USAGE, asked, awaited, client, of_chat, said


@client("openai", "chat", of_chat)
def openai(url, prompt):
    from openai import OpenAI

    made = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), stream_options=USAGE)


@client("groq", "chat", of_chat)
def groq(url, prompt):
    from groq import Groq

    made = Groq(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE})


@client("together", "chat", of_chat)
def together(url, prompt):
    from together import Together

    made = Together(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE})


@client("cerebras-cloud-sdk", "chat", of_chat)
def cerebras(url, prompt):
    from cerebras.cloud.sdk import Cerebras

    made = Cerebras(base_url=url, api_key="none", max_retries=0, timeout=SECONDS, warm_tcp_connection=False)
    return made.chat.completions.create(**asked(prompt), stream_options=USAGE)


@client("fireworks-ai", "chat", of_chat)
def fireworks(url, prompt):
    from fireworks import Fireworks

    made = Fireworks(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE})


@client("fireworks-ai async", "chat", of_chat)
def fireworks_async(url, prompt):
    from fireworks import AsyncFireworks  # on aiohttp, the synchronous one on httpx

    made = AsyncFireworks(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    return awaited(
        lambda: made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE}), closing=made.close
    )


@client("perplexityai", "chat", of_chat)
def perplexity(url, prompt):
    from perplexity import Perplexity

    made = Perplexity(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE})


@client("sambanova", "chat", of_chat)
def sambanova(url, prompt):
    from sambanova import SambaNova

    made = SambaNova(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), stream_options=USAGE)


@client("writer-sdk", "chat", of_chat)
def writer(url, prompt):
    from writerai import Writer

    made = Writer(base_url=url, api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.chat(**asked(prompt), stream_options=USAGE)


@client("zai-sdk", "chat", of_chat)
def zai(url, prompt):
    from zai import ZaiClient

    made = ZaiClient(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), extra_body={"stream_options": USAGE})


@client("portkey-ai", "chat", of_chat)
def portkey(url, prompt):
    from portkey_ai import Portkey

    made = Portkey(base_url=f"{url}/v1", api_key="none", provider="openai", max_retries=0, timeout=SECONDS)
    return made.chat.completions.create(**asked(prompt), stream_options=USAGE)


@client("openrouter", "openrouter", of_chat)
def openrouter(url, prompt):
    from openrouter import OpenRouter

    made = OpenRouter(server_url=f"{url}/v1", api_key="none", retry_config=None, timeout_ms=1000 * SECONDS)
    return made.chat.send(**asked(prompt), stream_options=USAGE)


@client("huggingface-hub", "chat", of_chat)
def huggingface(url, prompt):
    from huggingface_hub import InferenceClient

    made = InferenceClient(base_url=f"{url}/v1", token="none", timeout=SECONDS)  # noqa: S106 - no token
    yield from made.chat.completions.create(**asked(prompt), stream_options=USAGE)  # which does not hold the client


@client("azure-ai-inference", "chat", of_chat)
def azure(url, prompt):
    from azure.ai.inference import ChatCompletionsClient
    from azure.core.credentials import AzureKeyCredential

    made = ChatCompletionsClient(url, AzureKeyCredential("none"), retry_total=0, read_timeout=SECONDS)
    return made.complete(**asked(prompt), model_extras={"stream_options": USAGE})


@client("ai21", "chat", of_chat)
def ai21(url, prompt):
    from ai21 import AI21Client
    from ai21.models.chat import UserMessage

    made = AI21Client(api_key="none", api_host=f"{url}/v1", num_retries=0, timeout_sec=SECONDS)
    return made.chat.completions.create(
        **asked(prompt) | {"messages": [UserMessage(content=prompt)]}, stream_options=USAGE
    )


@client("litellm", "chat", of_chat)
def litellm(url, prompt):
    import litellm

    more = {"api_base": f"{url}/v1", "api_key": "none", "num_retries": 0, "max_retries": 0, "timeout": SECONDS}
    return litellm.completion(**asked(prompt) | {"model": "openai/m"}, stream_options=USAGE, **more)


@client("any-llm-sdk", "chat", of_chat)
def any_llm(url, prompt):
    from any_llm import completion

    more = {"api_base": f"{url}/v1", "api_key": "none", "client_args": {"max_retries": 0, "timeout": SECONDS}}
    return completion(**asked(prompt), provider="openai", stream_options=USAGE, **more)


def of_mistral(event):
    return of_chat(event.data)


@client("mistralai", "mistral", of_mistral)
def mistral(url, prompt):
    from mistralai.client import Mistral

    made = Mistral(server_url=url, api_key="none", timeout_ms=1000 * SECONDS)
    return made.chat.stream(model="m", messages=said(prompt), tools=TOOLS)


def of_messages(chunk):
    """Read a chunk of LangChain's."""
    yield "text", chunk.text if isinstance(chunk.text, str) else chunk.text()
    for call in chunk.tool_call_chunks:
        yield "call", call["index"] or 0, call["name"], call["args"]
    yield "finish", chunk.response_metadata.get("finish_reason")
    if chunk.usage_metadata:
        yield "usage", chunk.usage_metadata["input_tokens"], chunk.usage_metadata["output_tokens"]


@client("langchain-mistralai", "mistral", of_messages)
def langchain_mistral(url, prompt):
    from langchain_mistralai import ChatMistralAI

    made = ChatMistralAI(model="m", endpoint=f"{url}/v1", api_key="none", max_retries=0, timeout=SECONDS)
    return made.bind_tools(TOOLS).stream(prompt)
