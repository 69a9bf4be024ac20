"""Time is a parameter: clocks that jump, scale or wait, and event loops whose time is virtual.

`run` and `run_trio` run a coroutine in virtual time, `run_twice` compares two runs. `VirtualClock.timeline` says what
happened when.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.clock.blocked import VirtualDeadlockError as VirtualDeadlockError
    from fakellm.clock.blocked import WatchdogError as WatchdogError
    from fakellm.clock.clock import Clock as Clock
    from fakellm.clock.clock import InstantClock as InstantClock
    from fakellm.clock.clock import RealClock as RealClock
    from fakellm.clock.clock import ScaledClock as ScaledClock
    from fakellm.clock.clock import VirtualClock as VirtualClock
    from fakellm.clock.timeline import Moment as Moment
    from fakellm.clock.timeline import Timeline as Timeline
    from fakellm.clock.timeline import TwoRunsDifferError as TwoRunsDifferError
    from fakellm.clock.timeline import compare as compare
    from fakellm.clock.virtual_loop import VirtualLoop as VirtualLoop
    from fakellm.clock.virtual_loop import run as run
    from fakellm.clock.virtual_loop import run_twice as run_twice
    from fakellm.clock.virtual_trio import run_trio as run_trio
    from fakellm.clock.virtual_trio import trio_guarded as trio_guarded
    from fakellm.clock.virtual_trio import trio_options as trio_options

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "blocked": ("VirtualDeadlockError", "WatchdogError"),
        "clock": ("Clock", "InstantClock", "RealClock", "ScaledClock", "VirtualClock"),
        "timeline": ("Moment", "Timeline", "TwoRunsDifferError", "compare"),
        "virtual_loop": ("VirtualLoop", "run", "run_twice"),
        "virtual_trio": ("run_trio", "trio_guarded", "trio_options"),
    },
)
