from smolagents import ChatMessageStreamDelta, OpenAIModel, ToolCallingAgent, tool
from smolagents.memory import ActionStep

PACKAGES = ["smolagents", "openai"]


def ask(seen, url, model, tools):
    chat = OpenAIModel(model, url, "none", client_kwargs={"max_retries": 0})
    used = [0, 0]
    if tools:  # an agent of this framework wants each answer to be a call, so text is asked of the model itself
        agent = ToolCallingAgent(
            [tool(one) for one in seen.tools], chat, stream_outputs=True, max_steps=1, verbosity_level=-1
        )
        stream = agent.run("Go on.", stream=True)
    else:
        stream = chat.generate_stream([{"role": "user", "content": [{"type": "text", "text": "Go on."}]}])
    for event in stream:
        if isinstance(event, ChatMessageStreamDelta):
            seen.text(event.content)
            if event.token_usage:
                used = [used[0] + event.token_usage.input_tokens, used[1] + event.token_usage.output_tokens]
                seen.usage(*used)
        elif isinstance(event, ActionStep) and event.error:
            raise event.error
