"""What is judged of the requests to a server at the end, be it that they were let go: misses, and replies left."""

from __future__ import annotations

from collections.abc import Iterable

from fakellm.errors import BrokenReplyError, SwallowedCallError, UnexpectedRequestError, UnusedRepliesError, explain
from fakellm.models.calls import never_asked
from fakellm.models.kept import Kept
from fakellm.secrets.knowing import knowing

_MEANT = "if that is meant: @pytest.mark.fake_llm(allow_misses=True), or verify(allow_misses=True)"
_MISSES, _FIRST = 100, 20
"""How many misses are kept of each provider, and how many of them are the first: those tell most."""
_PROBES = tuple(f"no provider of this server knows {asked}\n" for asked in ("GET /", "HEAD /", "GET /favicon.ico"))
"""How misses are worded that load balancers and browsers make by themselves, and no client of a model."""


def is_probe(miss: UnexpectedRequestError) -> bool:
    """Tell whether a miss is what load balancers and browsers ask by themselves."""
    return str(miss).startswith(_PROBES)


def bound_misses(misses: Kept[UnexpectedRequestError]) -> None:
    """Let go of misses beyond those that are kept: first of probes, which nobody counts."""
    while len(misses) > _MISSES:
        probe = next((place for place, one in enumerate(misses) if is_probe(one)), None)
        if probe is None:
            misses.let_go(_FIRST)
        else:
            del misses[probe]


def judge(misses: Iterable[UnexpectedRequestError], words: str, *, allow_misses: bool) -> None:
    """Raise `SwallowedCallError` for the first of these that is not allowed."""
    first = next((miss for miss in misses if not allow_misses or isinstance(miss, BrokenReplyError)), None)
    if first is None:
        return
    is_broken = isinstance(first, BrokenReplyError)
    what = "could not be answered" if is_broken else "found no reply"
    with knowing(first.credentials):
        text = explain(
            f"a request to the fake server{words} {what}, and its client was told so:\n{first}",
            remedy=[] if is_broken else [_MEANT],
        )
    raise SwallowedCallError(text) from first


class Gone:
    """What is known of sessions that were let go: how much came, and what is judged at the end.

    `misses` and `unused`, worded, are the first of those; `used` are the keys of the server's own replies.
    """

    def __init__(self) -> None:
        self.sessions = self.calls = 0
        self.misses: Kept[UnexpectedRequestError] = Kept()
        self.unused: list[str] = []
        self.used: set[int] = set()

    def take(self, calls: int, misses: list[UnexpectedRequestError], more: int, unused: list[str]) -> None:
        """Take what there is to know of a session: its misses, and how many more there were."""
        self.sessions += 1
        self.calls += calls
        counted = [miss for miss in misses if not is_probe(miss)]
        room = max(_MISSES - len(self.misses), 0)
        self.misses.extend(counted[:room])
        self.misses.gone += len(counted[room:]) + more
        self.unused += unused[: max(_MISSES - len(self.unused), 0)]

    def verify(self, *, allow_unused: bool, allow_misses: bool) -> None:
        """Raise `SwallowedCallError` if a request found no reply, else `UnusedRepliesError` if a reply is left."""
        judge(self.misses, ", in a session that was let go,", allow_misses=allow_misses)
        if self.unused and not allow_unused:
            raise UnusedRepliesError(never_asked("the fake server", self.unused, "its sessions were let go"))
