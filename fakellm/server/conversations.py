"""Steps of conversations as a scenario has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fakellm.agents.scripted import Conversation, made
from fakellm.agents.steps import Calls, Result, Says, User, calls, result, user
from fakellm.script.documents import Document
from fakellm.script.lines import Place
from fakellm.script.script import Script
from fakellm.server.forms import ConversationForm, SaysForm, StepForm, TextForm, WhenForm

_KINDS = ("user", "calls", "result", "says", "events", "script", "error")


class Conversing:
    """Reads the conversations of a document, with what reads the rest of it."""

    _document: Document
    _problems: list[str]

    def conversation(self, form: ConversationForm, place: Place) -> Conversation | None:
        """Return a conversation, or None with what is wrong with it noted."""
        count = len(self._problems)
        if form.when is not None and (form.when.text, form.when.pattern, form.when.role) != (None, None, None):
            self.problem(
                (*place, "when"), "what the user says is a step of the conversation; take text, pattern, role away"
            )
        conditions = {} if form.when is None else self._conditions(form.when, (*place, "when"))
        steps = [step for at, one in enumerate(form.steps) for step in self._steps(one, (*place, "steps", at))]
        if len(self._problems) > count:
            return None
        where = f"{self._document.name}:{self._document.line(place)}"
        kept = {name: value for name, value in conditions.items() if value not in (None, ())}
        return self._tried(place, lambda: made(steps, form.times, kept, where))  # type: ignore[no-any-return]

    def _steps(self, form: StepForm, place: Place) -> list[Any]:
        """Return the steps that one of a file is: one for each call of several."""
        if (problem := _problem_of(form)) is not None:
            self.problem(place, problem)
            return []
        if form.user is not None or form.result is not None:
            return [_asked_of(form, self._matched(form.user or form.result, place, is_needed=False))]
        if form.calls is not None:
            return _calls_of(form.calls)
        says = SaysForm(text=form.says, events=form.events, script=form.script, error=form.error)
        content = self._content(says, place)
        return [] if content is None else [Says((content,))]

    # -- what reads the rest ----------------------------------------------------------------------------

    def problem(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        raise NotImplementedError

    def _tried(self, place: Place, make: Callable[[], Any]) -> Any:
        raise NotImplementedError

    def _conditions(self, form: WhenForm, place: Place) -> dict[str, Any]:
        raise NotImplementedError

    def _matched(self, form: TextForm | None, place: Place, *, is_needed: bool = True) -> str | re.Pattern[str] | None:
        raise NotImplementedError

    def _content(self, form: SaysForm, place: Place) -> Script | Callable[..., Any] | None:
        raise NotImplementedError


def _problem_of(form: StepForm) -> str | None:
    """Word what is wrong with a step; None if nothing is."""
    said = [name for name in _KINDS if getattr(form, name) is not None]
    if len(said) != 1:
        what = f"it has {' and '.join(said)}" if said else "it says nothing"
        return f"{what}; a step has one of {', '.join(_KINDS)}"
    if form.calls is not None and not form.calls:
        return "it calls nothing; write a mapping of tools to their arguments"
    given = form.result.model_fields_set - {"of"} if form.result is not None else set()
    if "value" in given and len(given) > 1:
        return "json, text and pattern of a result stand for each other; write one of them"
    return None


def _asked_of(form: StepForm, matched: str | re.Pattern[str] | None) -> User | Result:
    """Return what a step of the app is, whose text or pattern is matched."""
    wanted: Any = ... if matched is None else matched
    if form.result is None:
        return user(wanted)
    if "value" in form.result.model_fields_set:
        wanted = form.result.value
    return result(wanted, of=form.result.of)


def _calls_of(called: Mapping[str, Mapping[str, Any] | str | None]) -> list[Calls]:
    """Return the calls of a step: each is one of its own."""
    return [calls(name, arguments) for name, arguments in called.items()]
