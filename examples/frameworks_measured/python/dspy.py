import dspy
from runner import SPECS

PACKAGES = ["dspy"]


class Asks(dspy.Module):
    """Asks the model itself: a signature would want the answer in a form of its own."""

    def __init__(self, seen, chat, tools):
        super().__init__()
        self.seen, self.chat, self.tools = seen, chat, tools

    def forward(self, text):
        messages = [{"role": "user", "content": text}]
        while True:
            (answer,) = self.chat(messages=messages, **({"tools": SPECS} if self.tools else {}))
            calls = answer.get("tool_calls") or [] if isinstance(answer, dict) else []
            if not calls:
                return dspy.Prediction(answer=answer)
            messages.append({"role": "assistant", "tool_calls": [call.model_dump() for call in calls]})
            messages += [
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": self.seen.run(call.function.name, call.function.arguments),
                }
                for call in calls
            ]


async def ask(seen, url, model, tools):
    chat = dspy.LM(f"openai/{model}", api_base=url, api_key="none", cache=False, num_retries=0)
    with dspy.context(lm=chat, track_usage=True):
        async for chunk in dspy.streamify(Asks(seen, chat, tools))(text="Go on."):
            if isinstance(chunk, dspy.Prediction):
                used = (chunk.get_lm_usage() or {}).get(f"openai/{model}", {})
                seen.usage(used.get("prompt_tokens"), used.get("completion_tokens"))
                continue
            for choice in chunk.choices:
                seen.text(choice.delta.content, choice.index)
                seen.reasoning(getattr(choice.delta, "reasoning_content", None))
                seen.finish(None if choice.index else choice.finish_reason)
