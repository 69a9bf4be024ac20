"""What projects under test import: loaded once here, so that not each project in this process has to import it anew.

pytester takes back what a project's run has imported. So this goes deep: SDKs import much at the first call only.
"""

from __future__ import annotations

import contextlib
import importlib

for _name in (
    "pytest_recording",  # before vcr, whose asserts it wants to rewrite
    "_fakellm_pytest.cassettes", "_fakellm_pytest.discretion", "_fakellm_pytest.recordings",
    "concurrent.futures.thread",  # twice, its threads would not be known for those of a pool: fakellm.clock.outside
    "aiohttp", "anthropic", "anyio.to_thread", "fakellm.cassette.tape", "fakellm.http.aiohttp", "fakellm.http.tape",
    "fakellm.http.tapped", "fakellm.http.urllib3", "fakellm.secrets.shown",
    "fakellm.wire.anthropic.messages", "fakellm.wire.openai.chat", "google.genai", "httpcore", "httpcore2",
    "hypothesis.internal.observability", "hypothesis.strategies", "openai",
    "openai.resources.chat.completions", "pytest_asyncio", "pytest_httpx2", "requests", "respx", "syrupy", "trio", "vcr",
    "vcr.stubs.aiohttp_stubs", "yaml",
):  # fmt: skip
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
