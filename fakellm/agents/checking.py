"""`check_loop`: what holds of every loop that an agent is right in, and limits of one's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from fakellm.agents.arguments import refused
from fakellm.agents.loops import Loop, Prices, loops_of
from fakellm.agents.past import past_of
from fakellm.agents.steps import shown_call
from fakellm.agents.wanted import NOT_JSON, json_of
from fakellm.errors import in_rows
from fakellm.provider.conversation import SYSTEM, TOOL
from fakellm.script.events import ToolCall
from fakellm.wire.codec import Request
from fakellm.wire.rules import inner, mappings
from fakellm.wire.wishes import tools_of


def _unknown_tools(loop: Loop) -> Iterator[str]:
    """Yield the calls of tools that the request did not offer."""
    for at, step in enumerate(loop.steps):
        request = _offering(loop, at)
        for call in loop.calls_of(at):
            if call.name not in request.tools and call.name not in _offered(request):
                offered = ", ".join(request.tools) or "none"
                yield f"request {step.number}: {shown_call(call)} is called, and the app offers {offered}"


def _offering(loop: Loop, at: int) -> Request:
    """Return the request that offers the tools of a step: Anthropic keeps those of a thread."""
    while at and not loop.steps[at].request.tools and loop.steps[at].request.options.get("thread"):
        at -= 1
    return loop.steps[at].request


def _offered(request: Request) -> dict[str, Any]:
    return {tool.name: tool.schema for tool in tools_of(request)}


def _of_text(request: Request) -> list[Any]:
    """Return the names of the tools that take any text: OpenAI's custom ones."""
    tools = [tool for _, tool in mappings(inner({"body": request.json}, "body").get("tools"))]
    return [(inner(tool, "custom") or tool).get("name") for tool in tools if tool.get("type") == "custom"]


def _refused_arguments(loop: Loop) -> Iterator[str]:
    """Yield the calls whose arguments the schema refuses that the request offered the tool with."""
    for at, step in enumerate(loop.steps):
        request = _offering(loop, at)
        schemas, of_text = _offered(request), _of_text(request)
        for call in loop.calls_of(at):
            if call.name in of_text and call.name not in schemas:
                continue
            if problem := _problem(call, schemas.get(call.name or "", True)):
                yield f"request {step.number}: {shown_call(call)}: {problem}"


def _problem(call: ToolCall, schema: Any) -> str:
    args = json_of(call.arguments) if call.arguments else {}
    if args is NOT_JSON or not isinstance(args, dict):
        return f"the arguments are no JSON object: {call.arguments!r}"
    return refused(schema, args)


def _missing_results(loop: Loop) -> Iterator[str]:
    """Yield the calls that the loop goes on after without their results."""
    for at in range(len(loop.steps) - 1):
        for call, called in zip(loop.calls_of(at), loop.called_at(at), strict=True):
            if called.result is None:
                after = loop.steps[at + 1].number
                yield f"request {after}: it goes on without the result of {shown_call(call)}"


def _said_twice(loop: Loop) -> Iterator[str]:
    """Yield where a prompt holds more than came before it: what is said again each time grows without bound."""
    for before, step in zip(loop.steps, loop.steps[1:], strict=False):
        past, now = past_of(before.request), past_of(step.request)
        if now.goes_on:
            continue
        more = len(now.answers) - len(past.answers) - 1
        if more > 0:
            yield f"request {step.number}: it holds {more} answers more than the model gave: look what is sent twice"
        systems = [[m.content for m in one.request.messages if m.role in SYSTEM] for one in (before, step)]
        again = [text for text in dict.fromkeys(systems[1]) if systems[1].count(text) > max(systems[0].count(text), 1)]
        if again:
            yield f"request {step.number}: the system message is there {systems[1].count(again[0])} times"
        ids = [m.tool_call_id for gap in now.sent for m in gap if m.role in TOOL and m.tool_call_id]
        called = [call.id for answer in now.answers for call in answer.calls]
        twice = [one for one in dict.fromkeys(ids) if one in called and ids.count(one) > called.count(one)]
        if twice:
            yield f"request {step.number}: the result of {twice[0]} is there {ids.count(twice[0])} times"


RULES: dict[str, Callable[[Loop], Iterator[str]]] = {
    "unknown_tool": _unknown_tools,
    "refused_arguments": _refused_arguments,
    "missing_result": _missing_results,
    "said_twice": _said_twice,
}
"""What is held to be right of every loop, by the names that `allow` takes."""


def check_loop(
    source: Any,
    *,
    max_steps: int | None = None,
    max_tokens: int | None = None,
    max_prompt: int | None = None,
    max_growth: int | None = None,
    max_cost: float | None = None,
    prices: Prices | None = None,
    allow: Collection[str] = (),
) -> None:
    """Raise `AssertionError` that names all that is wrong with the loops of a fake, a server, a tape or calls.

    Every loop is held to this: `unknown_tool`, a tool is called that the app did not offer; `refused_arguments`, its
    schema refuses the arguments; `missing_result`, the app goes on without a result; `said_twice`, a prompt holds what
    came before twice. `allow` names those that may be.

    The limits are those of each loop: `max_steps` requests, `max_tokens` of all prompts and answers, `max_prompt`
    tokens of one prompt, `max_growth` tokens that a prompt has more than the one before it, `max_cost` by `prices`,
    which are those of a million tokens: `{"gpt-5": (1.25, 10.0)}`, or with a third of those from a cache.

    Raises `ValueError` where nothing was asked, and for an unknown rule or price.
    """
    if unknown := [name for name in allow if name not in RULES]:
        msg = f"there is no rule {unknown[0]!r} to allow; there are {', '.join(RULES)}"
        raise ValueError(msg)
    if max_cost is not None and prices is None:
        msg = "max_cost needs prices: {'gpt-5': (1.25, 10.0)}, of a million tokens of prompts and of answers"
        raise ValueError(msg)
    loops = loops_of(source)
    if not loops:
        msg = "no model was asked, so nothing is proven; look whether the app calls it at all"
        raise ValueError(msg)
    limits = {"max_steps": max_steps, "max_tokens": max_tokens, "max_prompt": max_prompt, "max_growth": max_growth}
    rules = [rule for name, rule in RULES.items() if name not in allow]
    problems = []
    for number, loop in enumerate(loops, 1):
        found = [problem for rule in rules for problem in rule(loop)]
        found += [text for name, limit in limits.items() if limit is not None for text in _beyond(loop, name, limit)]
        if max_cost is not None and prices is not None and (cost := loop.cost(prices)) > max_cost:
            found.append(f"it costs {cost:.6g}, and max_cost is {max_cost:g}")
        problems += [f"loop {number}, {text}" if len(loops) > 1 else text for text in found]
    if problems:
        what = f"{len(problems)} thing{'' if len(problems) == 1 else 's'} wrong with the loop"
        shown = "\n".join(f"loop {number}: {_shown(loop)}" for number, loop in enumerate(loops[:5], 1))
        rows = [("wrong:" if not at else "", text) for at, text in enumerate(problems)]
        raise AssertionError(in_rows(what, [*rows, ("what ran:", shown)]))


def _beyond(loop: Loop, name: str, limit: int) -> Iterator[str]:
    prompts, used = loop.prompts, loop.usage
    if name == "max_steps" and len(loop) > limit:
        yield f"the model is asked {len(loop)} times, and max_steps is {limit}"
    elif name == "max_tokens" and used.total_tokens > limit:
        yield f"it takes {used.total_tokens} tokens, and max_tokens is {limit}"
    elif name == "max_prompt" and max(prompts) > limit:
        at = next(at for at, tokens in enumerate(prompts) if tokens > limit)
        yield f"request {loop.steps[at].number}: the prompt has {prompts[at]} tokens, and max_prompt is {limit}"
    elif name == "max_growth":
        for at in range(1, len(prompts)):
            if (more := prompts[at] - prompts[at - 1]) > limit:
                yield f"request {loop.steps[at].number}: the prompt grew by {more} tokens, and max_growth is {limit}"
                return


def _shown(loop: Loop) -> str:
    called = ", ".join(loop.tools_called) or "no tool"
    tokens = ", ".join(map(str, loop.prompts[:20]))
    return f"{len(loop)} requests, {called} called; prompts of {tokens} tokens"
