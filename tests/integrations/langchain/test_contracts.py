"""The streaming contracts on LangChain's models: the adapters, and a chain over one."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core", reason="the adapter is for langchain-core, which is not installed")

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser

from fakellm.contracts import StreamContract, check_stream
from fakellm.integrations.langchain.adapters import as_langchain_chat_model, as_langchain_llm


@pytest.mark.parametrize(
    "make, chat",
    [
        (lambda source: as_langchain_chat_model(source), True),
        pytest.param(
            lambda source: as_langchain_chat_model(source, output_version="v1"),
            True,
            marks=pytest.mark.skipif(
                not hasattr(AIMessage, "content_blocks"), reason="langchain-core has it since 1.0"
            ),
        ),
        (lambda source: as_langchain_llm(source), False),
    ],
    ids=["chat", "blocks", "text"],
)
def test_the_adapters_keep_every_contract(make, chat):
    report = check_stream(make, chat=chat)

    assert not report.failed, str(report)


@pytest.mark.parametrize(
    "wrap, broken",
    [
        (lambda model: model.bind_tools([]), {"close"}),
        (lambda model: model | StrOutputParser(), {"close", "task_affinity"}),
    ],
    ids=["bound", "chain"],
)
@pytest.mark.exhaustive
def test_what_langchain_puts_around_a_model_breaks_contracts_of_its_own(wrap, broken):
    """A binding leaves the stream to the collector, a chain reads it to its end and runs each step in a task."""
    report = check_stream(lambda source: wrap(as_langchain_chat_model(source)), chat=True)

    assert {verdict.contract.name for verdict in report.failed} == broken


class TestChatModel(StreamContract):
    """Each contract as a test of its own, as an app would write it for a LangChain model."""

    chat = True

    @pytest.fixture
    def make_runnable(self):
        return lambda source: as_langchain_chat_model(source)
