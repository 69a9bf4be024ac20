"""`Runnable`: `invoke`, `batch`, `stream` and their asynchronous forms, with LangChain's semantics.

Supply `invoke`, and the rest follows; `|`, a dict, a function and the `with_...` methods compose.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.runnable.addable import AddableDict as AddableDict
    from fakellm.runnable.base import Runnable as Runnable
    from fakellm.runnable.branch import RunnableBranch as RunnableBranch
    from fakellm.runnable.branch import RunnableEach as RunnableEach
    from fakellm.runnable.compose import RunnableSequence as RunnableSequence
    from fakellm.runnable.config import RunnableConfig as RunnableConfig
    from fakellm.runnable.events import Run as Run
    from fakellm.runnable.events import RunEvent as RunEvent
    from fakellm.runnable.fallbacks import RunnableWithFallbacks as RunnableWithFallbacks
    from fakellm.runnable.functions import RunnableGenerator as RunnableGenerator
    from fakellm.runnable.functions import RunnableLambda as RunnableLambda
    from fakellm.runnable.parallel import RunnableParallel as RunnableParallel
    from fakellm.runnable.passthrough import RunnableAssign as RunnableAssign
    from fakellm.runnable.passthrough import RunnablePassthrough as RunnablePassthrough
    from fakellm.runnable.passthrough import RunnablePick as RunnablePick
    from fakellm.runnable.wrappers import RunnableBinding as RunnableBinding
    from fakellm.runnable.wrappers import RunnableRetry as RunnableRetry

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "base": ("Runnable",),
        "compose": ("RunnableSequence",),
        "config": ("RunnableConfig",),
        "events": ("Run", "RunEvent"),
        "fallbacks": ("RunnableWithFallbacks",),
        "functions": ("RunnableGenerator", "RunnableLambda"),
        "addable": ("AddableDict",),
        "parallel": ("RunnableParallel",),
        "passthrough": ("RunnableAssign", "RunnablePassthrough", "RunnablePick"),
        "branch": ("RunnableBranch", "RunnableEach"),
        "wrappers": ("RunnableBinding", "RunnableRetry"),
    },
)
