"""Grammars of wire formats, and what one for a provider from outside is made of.

A `Grammar` is given the events of one body and notes which `Rule` each breaks; `rule_table` makes rules of rows. Give
it to the endpoint of a provider, `fakellm.wire.endpoint(..., grammar=...)`, and `check_wire` holds streams to it.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.contracts.grammar.frames import SSE_RULES as SSE_RULES
    from fakellm.contracts.grammar.frames import EventFrames as EventFrames
    from fakellm.contracts.grammar.rules import Grammar as Grammar
    from fakellm.contracts.grammar.rules import Rule as Rule
    from fakellm.contracts.grammar.rules import Sent as Sent
    from fakellm.contracts.grammar.rules import rule_table as rule_table

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {"frames": ("EventFrames", "SSE_RULES"), "rules": ("Grammar", "Rule", "Sent", "rule_table")},
    also=("check",),
)
