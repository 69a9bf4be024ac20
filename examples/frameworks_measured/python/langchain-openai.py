from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from runner import SPECS

PACKAGES = ["langchain-openai", "langchain-core", "openai"]


def ask(seen, url, model, tools):
    chat = ChatOpenAI(model=model, base_url=url, max_retries=0, stream_usage=True)
    chat = chat.bind_tools(SPECS) if tools else chat
    messages, whole, used = [("user", "Go on.")], None, [0, 0]
    while whole is None or whole.tool_calls:
        whole = None
        for chunk in chat.stream(messages):
            whole = chunk if whole is None else whole + chunk
            seen.text(chunk.text)
            seen.finish(chunk.response_metadata.get("finish_reason"))
        if whole.usage_metadata:
            used = [used[0] + whole.usage_metadata["input_tokens"], used[1] + whole.usage_metadata["output_tokens"]]
            seen.usage(*used)
        messages.append(whole)
        messages += [
            ToolMessage(seen.run(call["name"], call["args"]), tool_call_id=call["id"]) for call in whole.tool_calls
        ]
