"""LangChain's own standard suites for chat models, on the adapter: every property is on, nothing is expected to fail.

They are in langchain-tests, which wants plugins and an older vcrpy than ours; where it is not installed the file is
skipped. The dependency group `langchain` and .ci/run provide an environment of its own.
"""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

pytest.importorskip("langchain_tests", reason="runs LangChain's standard suites, and langchain-tests is not installed")

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from fakellm import FakeChatModel, Script, ToolCall, Usage
from fakellm.integrations.langchain.adapters import LangChainFakeChatModel, as_langchain_chat_model

JOKE = {"setup": "Why do cats sit on keyboards?", "punchline": "To be near the mouse."}
DETAILS = ["reasoning_output", "cache_read_input"]  # what a `Usage` tells apart


def scripted():
    """Return a fake that answers what the suites ask as a model would."""
    usage = Usage(12, 5, cached_tokens=8, reasoning_tokens=2)
    calls = {
        r"magic_function\(3\)": ("magic_function", {"input": 3}),
        r"magic_function_no_args": ("magic_function_no_args", {}),
        r"Pirate": ("greeting_generator", {"answer_style": "Pirate"}),
        r"^Hello!$": ("magic_function", {"input": 1}),
        r"3 \+ 4": ("my_adder_tool", {"a": 3, "b": 4}),
        r"weather in": ("get_weather", {"location": "San Francisco, CA"}),
        r"你好": ("unicode_customer", {"customer_name": "你好啊集团", "description": "a company"}),
        r"こんにちは": ("unicode_customer", {"customer_name": "こんにちは株式会社", "description": "a company"}),
    }
    model = FakeChatModel().when("joke", *Script.of(json.dumps(JOKE), "tokens"), usage)
    for pattern, (name, args) in calls.items():
        pieces = Script(ToolCall(name, args)).rechunk(every=5, of=ToolCall)
        model.when(re.compile(pattern), pieces, usage)
    return model.otherwise(*Script.of("It is a quiet answer that says no more than it has to.", "tokens"), usage)


class Adapter:
    """What the suites ask about the model."""

    chat_model_class = LangChainFakeChatModel
    supports_json_mode = True
    supports_image_inputs = supports_image_urls = supports_image_tool_message = True
    supports_pdf_inputs = supports_pdf_tool_message = supports_audio_inputs = supports_video_inputs = True
    supports_anthropic_inputs = True
    enable_vcr_tests = True
    model_override_value = "another-model"
    supported_usage_metadata_details = {"invoke": DETAILS, "stream": DETAILS}

    @property
    def chat_model_params(self):
        return {"fake": scripted()}


class TestUnit(Adapter, ChatModelUnitTests):
    """The unit suite."""


@pytest.mark.anyio
class TestIntegration(Adapter, ChatModelIntegrationTests):
    """The integration suite; what it would fetch from the network is given to it."""

    @pytest.fixture
    def anyio_backend(self):
        return "asyncio"

    @pytest.fixture(autouse=True)
    def no_downloads(self, monkeypatch):
        class Response:
            content = b"a picture, a sound or a document"

        monkeypatch.setattr("langchain_tests.integration_tests.chat_models.httpx.get", lambda *_, **__: Response)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "tests")

    @pytest.fixture
    def vcr(self):
        """Stand in for the cassette that a provider's model would be timed with: the fake sends no requests."""
        return SimpleNamespace(responses=["none is needed"])

    def _asked(self, stream):
        model = as_langchain_chat_model(scripted())
        return model.invoke("?", stream=stream)

    def invoke_with_reasoning_output(self, *, stream=False):
        return self._asked(stream)

    def invoke_with_cache_read_input(self, *, stream=False):
        return self._asked(stream)
