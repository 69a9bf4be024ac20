"""Loops of agents: conversations that a fake plays, and what is asserted of the calls that were made.

`conversation(user(...), calls(...), result(...), says(...))` scripts the model's side and checks the app's.
`tools_called`, `loops_of` and `check_loop` look at what was asked of a fake, a server or a tape.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.agents.checking import check_loop as check_loop
    from fakellm.agents.loops import Called as Called
    from fakellm.agents.loops import Loop as Loop
    from fakellm.agents.loops import loops_of as loops_of
    from fakellm.agents.loops import tools_called as tools_called
    from fakellm.agents.scripted import Conversation as Conversation
    from fakellm.agents.scripted import conversation as conversation
    from fakellm.agents.steps import calls as calls
    from fakellm.agents.steps import result as result
    from fakellm.agents.steps import says as says
    from fakellm.agents.steps import user as user

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "scripted": ("Conversation", "conversation"),
        "loops": ("Called", "Loop", "loops_of", "tools_called"),
        "checking": ("check_loop",),
        "steps": ("calls", "result", "says", "user"),
    },
)
