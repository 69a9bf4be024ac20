"""The command `fakellm`, and the page of a run of tests. Nothing of it is loaded before it is called.

What is offered here is what a report of tests is made of: `articles_of` draws the requests to a fake, whose `calls` are
a `Timed` log if their chunks are to have times, and `page_of_run` is the page.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.cli.calls import Timed as Timed
    from fakellm.cli.run_page import articles_of as articles_of
    from fakellm.cli.run_page import page_of_run as page_of_run

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "calls": ("Timed",),
        "run_page": ("articles_of", "page_of_run"),
    },
)
