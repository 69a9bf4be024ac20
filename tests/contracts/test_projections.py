"""What a chunk says, whatever made it."""

from __future__ import annotations

from types import SimpleNamespace as Object

from vectors import each

from fakellm import Usage
from fakellm.contracts.streams.projections import UNKNOWN, finish_of, joined, text_of, usage_of
from fakellm.script.messages import Message

CHAT = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
LAST = {
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}
ANSWER = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
LEGACY = {"choices": [{"text": "Hi", "finish_reason": None}]}
DELTA = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}
STOP = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
RESPONSES = {"type": "response.output_text.delta", "delta": "Hi"}
COMPLETED = {"type": "response.completed", "response": {}}
GEMINI = Object(candidates=[Object(content=Object(parts=[Object(text="Hi", thought=None)]), finish_reason="STOP")])
THOUGHT = Object(candidates=[Object(content=Object(parts=[Object(text="Hm", thought=True)]), finish_reason=None)])
LANGCHAIN = Object(
    content=[{"type": "text", "text": "Hi"}], response_metadata={"stop_reason": "end"}, usage_metadata=None
)
COHERE = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}}
THINKS = Object(type="content-delta", delta=Object(message=Object(content=Object(text=None, thinking="Hm"))))
COUNTS = {"tokens": {"input_tokens": 1, "output_tokens": 2}, "billed_units": {"input_tokens": 0, "output_tokens": 0}}
ENDED = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COUNTS}}
COHERES = Object(finish_reason="COMPLETE", message=Object(content=[Object(type="text", text="Hi")]), usage=COUNTS)
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hi"}]
MISTRAL = Object(data=Object(choices=[Object(delta=Object(content=PARTS), finish_reason=None)], usage=None))
SAID = Object(event="message.output.delta", data={"type": "message.output.delta", "content": "Hi"})
REFERS = {"type": "message.output.delta", "content": {"type": "tool_reference", "title": "x"}}
OVER = {"type": "conversation.response.done", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
COUNTED = Object(content="Hi", usage_metadata={"input_tokens": 1, "output_tokens": 2})

STEP = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}}
SUMMARY = Object(event_type="step.delta", delta=Object(type="thought_summary", text="Hm"))
BOTH = {"total_input_tokens": 1, "total_output_tokens": 2}
INTERACTED = {"event_type": "interaction.completed", "interaction": {"status": "completed", "usage": BOTH}}
BLOCK = {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}}
STOPPED, METADATA = (
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}},
)
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}, {"toolUse": {}}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 2},
}


@each(
    ("chunk", "text"),
    [
        (None, ""), ("Hi", "Hi"), (CHAT, "Hi"), (LAST, ""), (ANSWER, "Hi"), (LEGACY, "Hi"), ({"choices": []}, ""),
        (DELTA, "Hi"), (STOP, ""), ({"type": "ping"}, ""), (RESPONSES, "Hi"), (COMPLETED, ""), (GEMINI, "Hi"),
        (THOUGHT, ""), (Object(candidates=[]), ""), (LANGCHAIN, "Hi"), (Message(content="Hi"), "Hi"),
        (COHERE, "Hi"), (THINKS, ""), (ENDED, ""), (COHERES, "Hi"), ({"type": "tool-plan-delta"}, ""),
        (Object(output_text="Hi"), "Hi"), ({"type": "odd"}, UNKNOWN), ({"said": "Hi"}, UNKNOWN), (7, UNKNOWN),
        (MISTRAL, "Hi"), (SAID, "Hi"), (REFERS, ""), (OVER, ""), ({"data": [1], "said": "Hi"}, UNKNOWN),
        ({"content": "Hi", "done": False}, "Hi"), ({"message": "Hi", "done": True}, UNKNOWN),
        (STEP, "Hi"), (SUMMARY, ""), (INTERACTED, ""), (BLOCK, "Hi"), (STOPPED, ""), (METADATA, ""), (CONVERSED, "Hi"),
        ({"metadata": {}, "said": 1}, UNKNOWN), ({"output": "Hi"}, UNKNOWN),
    ],
)  # fmt: skip
def test_text(chunk, text):
    assert text_of(chunk) == text


@each(
    ("chunk", "reason"),
    [
        ("Hi", UNKNOWN), (CHAT, None), (LAST, "stop"), ({"choices": []}, None), (STOP, "end_turn"), (DELTA, None),
        (RESPONSES, None), (COMPLETED, "response.completed"), (GEMINI, "STOP"), (LANGCHAIN, "end"),
        (COHERE, None), (ENDED, "COMPLETE"), (COHERES, "COMPLETE"), (Message(finish_reason="stop"), "stop"), ({"type": "odd"}, UNKNOWN),
        (MISTRAL, None), (SAID, None), (OVER, "conversation.response.done"),
        (STEP, None), (INTERACTED, "completed"), (BLOCK, None), (STOPPED, "end_turn"), (METADATA, None), (CONVERSED, "end_turn"),
    ],
)  # fmt: skip
def test_finish(chunk, reason):
    assert finish_of(chunk) == reason


@each(
    ("chunk", "usage"),
    [
        ("Hi", UNKNOWN), (LAST, (1, 2)), (STOP, (None, 2)), (COUNTED, (1, 2)), (LANGCHAIN, None), (CHAT, UNKNOWN),
        (ENDED, (1, 2)), (COHERES, (1, 2)), (Message(usage=Usage(1, 2)), (1, 2)), (Message(content="Hi"), None), (7, UNKNOWN),
        (MISTRAL, None), (OVER, (1, 2)), (INTERACTED, (1, 2)), (BLOCK, None), (METADATA, (1, 2)), (CONVERSED, (1, 2)),
    ],
)  # fmt: skip
def test_usage(chunk, usage):
    assert usage_of(chunk) == usage


def test_joined():
    assert joined([CHAT, LAST, CHAT], text_of) == "HiHi"
    assert joined([CHAT, 7], text_of) is UNKNOWN
