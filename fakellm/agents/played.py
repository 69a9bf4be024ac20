"""A conversation on a fake: each answer is a reply to the requests that follow the conversation up to it.

Of several conversations that a request follows as far, the one answers whose user says it to the letter; of those that
are alike, the first that has the answer left. A request that leaves a conversation which it shares an answer with is
refused, whatever else the fake would say: to answer it would hide where the app strays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from fakellm.agents import dialogue, forms
from fakellm.agents.following import Followed, Stray, follow, follow_beyond, follow_end, is_of
from fakellm.agents.past import Past, past_of
from fakellm.agents.turns import Plan, Turn
from fakellm.models.conversing import Astray
from fakellm.models.replies import Reply
from fakellm.provider.conversation import tools_of_results
from fakellm.provider.routes import Route
from fakellm.script.messages import as_messages
from fakellm.wire.codec import Request

_MOST = 10_000
"""Answers of a conversation that are known by what their ids are made of."""
_REMEDY = (
    "correct the app, or the conversation where it is to be otherwise",
    "if another request than the conversation's is meant, script that with .when(...)",
)

_MORE = (
    "if the app is to have the conversation more than once: conversation(..., times=2), or times=None for any number"
)


_TRIMS = "if the app sends no more than the end of what came before: conversation(..., trimmed=True)"


def check_conditions(conditions: Mapping[str, Any]) -> None:
    """Raise `TypeError` or `ScriptError` for conditions that are none."""
    if conditions:
        Route("when", cast("Any", None), **conditions).check_condition()


class Board:
    """A conversation as one fake says it, and how the request that came last follows it: it is asked by each turn.

    `made_of` has, of a fake that makes ids of requests, the numbers in the ids of answers, with their turns. `kept` has
    the ids of conversations that were made elsewhere, with the turn that each came to.
    """

    def __init__(self, conversation: Plan, provider: str) -> None:
        self.conversation = conversation
        self.turns = conversation.as_said_by(provider)
        self.what = "request" if provider else "call"
        self.made_of: OrderedDict[int, int] = OrderedDict()
        self.kept: OrderedDict[str, int] = OrderedDict()
        self._asked: tuple[object, Request] | None = None
        self._last: tuple[Request, Past, int, Followed] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle has of it: no request."""
        return {**vars(self), "made_of": OrderedDict(), "kept": self.kept.copy(), "_asked": None, "_last": None}

    def request_of(self, call: Any) -> Request:
        """Return what a call of a fake asks; of a model, what messages and tools say."""
        if isinstance(call.input, Request):
            return call.input
        known = self._asked
        if known is None or known[0] is not call:
            self._asked = known = call, asked_of(call)
        return known[1]

    def followed(self, request: Request, at: int | None = None) -> tuple[Past, int, Followed]:
        """Return what a request holds, with which answer the conversation begins there, and how far it follows.

        Where the provider keeps what came before, `at` is the turn that it is compared with.
        """
        known = self._last
        if known is None or known[0] is not request:
            past = past_of(request)
            start, followed = self._follow(request, past)
            self._last = known = request, past, start, followed
        _, past, start, followed = known
        if (past.goes_on or self.conversation.trimmed) and at is not None:
            followed = follow_end(self.turns, past, at, wraps=forms.as_wrapped(request.api))
        return past, start, followed

    def _follow(self, request: Request, past: Past) -> tuple[int, Followed]:
        wraps = forms.as_wrapped(request.api)
        found = [(start, follow(self.turns, past, start=start, wraps=wraps)) for start in self._starts(past)]
        if not found:
            turn, tool = (self.conversation.conditions.get(name) for name in ("turn", "after_tool"))
            expected = [f"answer {turn} of the model"] if turn else []
            expected += [f"a result of {tool}"] if tool else []
            came = f"a request for answer {len(past.answers) + 1} of the model"
            stray = Stray(1, "the conversation has not begun", " after ".join(expected), came)
            return 0, Followed(0, 0, stray)
        return max(found, key=lambda one: one[1].depth)

    def _starts(self, past: Past) -> list[int]:
        turn, tool = (self.conversation.conditions.get(name) for name in ("turn", "after_tool"))
        if turn is None and tool is None:
            return [0]
        places = range(len(past.sent)) if turn is None else range(turn - 1, min(turn, len(past.sent)))
        return [at for at in places if tool is None or tool in _tools_answered(past, at)]

    def problem(self, request: Request) -> str:
        """Return what the API would refuse about the results of a request."""
        return "\n".join(forms.problems(request))


def _tools_answered(past: Past, at: int) -> list[str]:
    """Return the names of the tools whose results stand before an answer."""
    return tools_of_results(past.sent[at], past.answers[at - 1].calls if at else ())


def asked_of(call: Any) -> Request:
    """Return what a call of a model asks, in the words of requests."""
    tools = call.kwargs.get("tools") or ()
    body = {"tools": list(tools)} if isinstance(tools, Sequence) else None
    names = [_name(tool) for tool in tools] if isinstance(tools, Sequence) else []
    return Request("", "", tuple(as_messages(call.input)), tuple(filter(None, names)), json=body)


def _name(tool: Any) -> str:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else tool
    if isinstance(function, Mapping):
        return str(function.get("name") or "")
    return str(getattr(tool, "name", "") or getattr(tool, "__name__", ""))


@dataclass(slots=True, eq=False)
class Played(Route):
    """An answer of a conversation, `attempt` after `attempt` of those of a turn, `at` which of its turns."""

    board: Board = field(kw_only=True)
    at: int = 0
    attempt: int = 0

    @classmethod
    def all_of(cls, conversation: Plan, provider: str) -> list[Played]:
        """Return what a fake is told of a conversation."""
        board = Board(conversation, provider)
        known = {name: value for name, value in conversation.conditions.items() if name not in ("turn", "after_tool")}
        options = {"times": conversation.times, "place": conversation.place, "board": board}
        return [
            cls("when", script, **options, **known, at=at, attempt=attempt)  # type: ignore[arg-type]
            for at, turn in enumerate(board.turns)
            for attempt, script in enumerate(turn.attempts)
        ]

    @property
    def group(self) -> object:
        """What it is one of: the conversation on this fake."""
        return self.board

    def check_condition(self) -> None:
        """Raise for a condition that is none: a conversation needs none."""

    def fits(self, call: Any) -> bool:
        """Tell whether a request follows the conversation up to here, in the form that the API wants."""
        return not self.differences(self.board.request_of(call))

    def differences(self, request: Request) -> list[str]:
        """Word what keeps a request from being the one that is answered here."""
        board = self.board
        if found := Route.differences(self, request):
            return found
        past, _, followed = board.followed(request, self.at)
        is_begun = past.goes_on and (not past.may_begin or past.goes_on in board.kept)
        if is_begun and not self.at and not board.conversation.conditions.keys() & {"turn", "after_tool"}:
            return ["the request goes on with what the provider keeps, and the conversation begins here"]
        if followed.stray is not None:
            stray = followed.stray
            return [f"step {stray.step}: {stray.what}: expected {stray.expected}; came {stray.came}"]
        if followed.turn != self.at:
            return [f"it asks for the answer of step {board.turns[followed.turn].number}"]
        problem = board.problem(request)
        return [problem] if problem else []

    def rank(self, call: Any, told: Sequence[Reply]) -> tuple[int, bool]:
        """Return how well a request fits that fits: first what goes on with the answer before, then the letter."""
        board = self.board
        past, _, followed = board.followed(board.request_of(call), self.at)
        link = self._link(past, told)
        far = len(board.turns) if link is None or link >= self.at else self.at - 1 - link
        return far, not followed.is_exact

    def _link(self, past: Past, told: Sequence[Reply]) -> int | None:
        """Return the turn whose answer the request goes on with by its id, or that its conversation began with."""
        number, made_of = past.number, self.board.made_of
        if number is None:
            return self.board.kept.get(past.goes_on)
        if made_of:  # ids are made of the requests there, and not of how many came before
            return made_of.get(number)
        return next((one.at for one in self._others(told) if number in one.calls), None)

    def given(self, call: Any) -> None:
        """Take that it answers a request: its answer may be named by the next."""
        board = self.board
        if (number := getattr(call, "made_of", None)) is not None:
            _keep(board.made_of, number, self.at)
        request = board.request_of(call)
        if request.options.get("conversation") and (past := past_of(request)).may_begin:
            _keep(board.kept, past.goes_on, self.at)

    def _is_over(self, past: Past, told: Sequence[Reply]) -> bool:
        """Tell whether a request that holds the end alone goes on after the last answer."""
        turns = self.board.turns
        if past.goes_on:
            link = self._link(past, told)
            return link == len(turns) - 1 or (link is not None and all(one.calls for one in self._others(told)))
        is_trimmed = self.board.conversation.trimmed and bool(past.answers)
        return is_trimmed and len(past.answers) <= len(turns) and is_of(turns[-1], past.answers[-1])

    def _others(self, told: Sequence[Reply]) -> list[Played]:
        """Return all answers of this conversation on this fake."""
        return [one for one in told if isinstance(one, Played) and one.board is self.board]

    def astray(self, call: Any, told: Sequence[Reply]) -> Astray | None:
        """Return how a request that nothing answers leaves this conversation; the first of its answers says it."""
        if self.at or self.attempt:
            return None
        board = self.board
        request = board.request_of(call)
        others = self._others(told)
        at = next((one.at for one in others if not one.calls), others[-1].at)
        past, start, followed = board.followed(request, at)
        if self._is_over(past, told):
            followed = follow_beyond(board.turns, past)
        stray, problem = followed.stray, board.problem(request)
        remedy: tuple[str, ...] = _REMEDY
        if differences := Route.differences(self, request):
            stray = Stray(1, "the request is none of the conversation's", "its conditions", "; ".join(differences))
            followed = Followed(0, 0, stray)
        elif stray is None and problem:
            number = board.turns[followed.turn].asked[-1].number if board.turns[followed.turn].asked else 1
            what = f"the results are not sent as {request.api} wants them"
            stray, problem = Stray(number, what, "another form of the results", problem), ""
        elif stray is None:
            stray = _asked_again(board.turns[followed.turn], [one for one in others if one.at == followed.turn])
            remedy = (_REMEDY[0], _MORE, _REMEDY[1])
        is_inside = self._link(past, told) is not None if past.goes_on else followed.shared > 0
        what = f"leaves the conversation at step {stray.step} of {len(board.conversation.steps)}: {stray.what}"
        if not is_inside and followed.turn == 0 and followed.stray is not None:
            what = f"has no reply, and does not begin the conversation: {stray.what}"
            if self._may_be_trimmed(past):
                remedy = (remedy[0], _TRIMS, *remedy[1:])
        rows = dialogue.rows_of(board.conversation, board.turns, past, start, followed, stray)
        if problem:
            rows.insert(-1 if rows[-1][0] == "to come:" else len(rows), ("its form:", problem))
        return Astray(followed.depth, is_inside, what, tuple(rows), remedy)

    def _may_be_trimmed(self, past: Past) -> bool:
        """Tell whether a request begins with what is later in the conversation."""
        plan = self.board.conversation
        is_whole = not plan.trimmed and not past.goes_on and not plan.conditions.keys() & {"turn", "after_tool"}
        return is_whole and bool(past.answers) and any(is_of(turn, past.answers[0]) for turn in self.board.turns[1:])

    def never_asked(self, told: Sequence[Reply]) -> str:
        """Word that nobody came for this answer, with how far the conversation came."""
        others = self._others(told)

        def used(at: int) -> str:
            last = [one for one in others if one.at == at][-1]
            return last.last_use(self.board.what) if last.calls else ""

        before = [one for one in others if one.at == self.at and one.attempt < self.attempt and one.calls]
        again = [one.last_use(self.board.what) for one in before]
        return dialogue.stopped(self.board.conversation, self.board.turns, self.at, used, again)

    def conditions(self) -> list[str]:
        """Word which requests this is for."""
        board = self.board
        step = f"step {board.turns[self.at].number} of the conversation at {self.place}"
        return [step, *Route.conditions(self)]

    def as_call(self) -> str:
        """Write the call that scripts it, once for all answers."""
        return "" if self.at or self.attempt else f".play({self.board.conversation!r})"


def _keep(found: OrderedDict[Any, int], name: Any, at: int) -> None:
    found[name] = at
    while len(found) > _MOST:
        found.popitem(last=False)


def _asked_again(turn: Turn, had: Sequence[Played]) -> Stray:
    uses = ", ".join(one.last_use(one.board.what) for one in had if one.calls)
    came = f"the same once more; the answer {uses}" if uses else "the same at the same time"
    return Stray(turn.number, "the app asks again for what it has", "nothing more here", came)
