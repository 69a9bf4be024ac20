"""Loops of an app with tools, each by the vendor's own SDK, with a hook where an app goes wrong.

`loop(api, text, tools, send=...)` asks until the model calls nothing and returns what it says. `send` takes the messages
(or items, or contents) that the loop is about to send and returns others.
"""

from __future__ import annotations

import json

TOOLS = {"weather": lambda city: {"Paris": "light rain", "Rome": "sun"}[city], "clock": lambda zone: f"noon in {zone}"}
SCHEMAS = {
    "weather": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "clock": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}


def as_it_is(messages):
    return messages


def openai_chat(text, tools, send):
    import openai

    offered = [{"type": "function", "function": {"name": name, "parameters": SCHEMAS[name]}} for name in tools]
    client, messages = openai.OpenAI(api_key="none", max_retries=0), [{"role": "user", "content": text}]
    while True:
        answer = client.chat.completions.create(model="m", messages=send(messages), tools=offered).choices[0].message
        if not answer.tool_calls:
            return answer.content
        messages.append(answer.model_dump(exclude_none=True))
        for call in answer.tool_calls:
            said = tools[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})


def openai_responses(text, tools, send, *, kept=False):
    import openai

    offered = [{"type": "function", "name": name, "parameters": SCHEMAS[name]} for name in tools]
    client, items, before = openai.OpenAI(api_key="none", max_retries=0), [{"role": "user", "content": text}], {}
    while True:
        answer = client.responses.create(model="m", input=send(items), tools=offered, **before)
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            return answer.output_text
        if kept:
            items, before = [], {"previous_response_id": answer.id}
        else:
            items += [item.model_dump(exclude_none=True) for item in answer.output]
        for call in calls:
            said = tools[call.name](**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})


def anthropic_messages(text, tools, send):
    import anthropic

    offered = [{"name": name, "input_schema": SCHEMAS[name]} for name in tools]
    client, messages = anthropic.Anthropic(api_key="none", max_retries=0), [{"role": "user", "content": text}]
    while True:
        answer = client.messages.create(model="m", max_tokens=99, messages=send(messages), tools=offered)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in answer.content)
        messages.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in answer.content]})
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": tools[call.name](**call.input)} for call in calls
        ]
        messages.append({"role": "user", "content": results})


def gemini(text, tools, send):
    from google import genai
    from google.genai import types

    offered = [{"function_declarations": [{"name": n, "parameters_json_schema": SCHEMAS[n]} for n in tools]}]
    off = types.AutomaticFunctionCallingConfig(disable=True)
    config = types.GenerateContentConfig(tools=offered, automatic_function_calling=off)
    client = genai.Client(api_key="none")
    contents = [types.Content(role="user", parts=[types.Part(text=text)])]
    while True:
        answer = client.models.generate_content(model="m", contents=send(contents), config=config)
        if not answer.function_calls:
            return answer.text
        contents.append(answer.candidates[0].content)
        parts = [
            types.Part.from_function_response(name=call.name, response={"result": tools[call.name](**call.args)})
            for call in answer.function_calls
        ]
        contents.append(types.Content(role="user", parts=parts))


LOOPS = {
    "openai.chat": ("openai", openai_chat),
    "openai.responses": ("openai", openai_responses),
    "anthropic.messages": ("anthropic", anthropic_messages),
    "gemini": ("gemini", gemini),
}


def loop(api, text="Rain?", tools=TOOLS, send=as_it_is, **options):
    return LOOPS[api][1](text, tools, send, **options)
