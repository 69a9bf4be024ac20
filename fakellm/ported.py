"""What LangChain's users look for under a name that fakellm does not have: what to write instead.

Read only when a name, a method or an argument was not found, so it costs an import nothing.
"""

_REPLIES = "replies('first', 'second'): one for each call, and a call too many raises; `otherwise` answers any"
_LLM = "; LangChain's chains take as_langchain_llm(...) of it"
_CHAT = "; LangChain's chains take as_langchain_chat_model(...) of it"
_STEP = "it is in fakellm.runnable: from fakellm.runnable import "
_LANGCHAIN = "make the fake a model of LangChain's, and use that: as_langchain_chat_model(FakeChatModel(...))"

NAMES = {
    "FakeListLLM": f"write FakeLLM.{_REPLIES}{_LLM}",
    "FakeStreamingListLLM": f"write FakeLLM('It ', 'rains.'), which streams these, or FakeLLM.{_REPLIES}{_LLM}",
    "FakeListChatModel": f"write FakeChatModel.{_REPLIES}{_CHAT}",
    "FakeMessagesListChatModel": f"write FakeChatModel.{_REPLIES}; a reply has text, ToolCall, Usage, Finish{_CHAT}",
    "GenericFakeChatModel": f"write FakeChatModel('It ', 'rains.') or FakeChatModel.{_REPLIES}{_CHAT}",
    "ParrotFakeChatModel": f"write FakeChatModel(lambda messages: messages[-1].content){_CHAT}",
    "FakeToolCallingModel": f"write FakeChatModel(ToolCall('name', {{'argument': 1}})); it takes bind_tools{_CHAT}",
    "FakeListLLMError": "what a fake raises is scripted: FakeLLM('It ', disconnect()), or FakeLLM(ValueError('...'))",
    "FakeListChatModelError": "what a fake raises is scripted: FakeChatModel('It ', disconnect())",
    "RunnableMap": "write RunnableParallel, of fakellm.runnable",
    "chain": "write RunnableLambda(function), of fakellm.runnable",
    "RunnableSerializable": "write Runnable: ours are not serialised",
    "RunnableWithMessageHistory": _LANGCHAIN,
    "RouterRunnable": "write RunnableBranch, or RunnableLambda(lambda input: steps[input['key']])",
    "ConfigurableField": "read config['configurable'] in a RunnableLambda(lambda input, config: ...)",
    **{
        name: _STEP + name
        for name in (
            "AddableDict", "RunnableAssign", "RunnableBinding", "RunnableBranch", "RunnableConfig", "RunnableEach",
            "RunnableGenerator", "RunnableLambda", "RunnableParallel", "RunnablePassthrough", "RunnablePick",
            "RunnableRetry", "RunnableSequence", "RunnableWithFallbacks",
        )
    },
}  # fmt: skip
"""Names that are imported, in LangChain's rooms or, of ours, in another room."""

_CALLBACKS = "write .with_config({'callbacks': [function]}); it gets a RunEvent of each start, chunk, end and error"
_SCHEMA = "ours have no schemas; leave it out"

METHODS = {
    "with_listeners": _CALLBACKS,
    "with_alisteners": _CALLBACKS,
    "astream_events": _CALLBACKS,
    "stream_events": _CALLBACKS,
    "astream_log": _CALLBACKS,
    "with_types": _SCHEMA,
    "configurable_fields": NAMES["ConfigurableField"],
    "configurable_alternatives": NAMES["RouterRunnable"],
    "as_tool": _LANGCHAIN,
    "get_graph": "its repr() shows what it is made of",
    "get_prompts": "its repr() shows what it is made of",
    **dict.fromkeys(
        (
            "input_schema", "output_schema", "config_schema", "config_specs", "get_input_schema", "get_output_schema",
            "get_input_jsonschema", "get_output_jsonschema", "get_config_jsonschema", "InputType", "OutputType",
        ),
        _SCHEMA,
    ),
    "to_json": "ours are not serialised; its repr() shows what it is made of",
}  # fmt: skip
"""Methods and attributes of LangChain's Runnables."""

ARGUMENTS = {
    "responses": "write {kind}.replies('first', 'second')",
    "messages": "write {kind}.replies('first', 'second')",
    "sleep": "write {kind}('one ', Pause(0.5), 'reply'), which waits on the clock= and by default takes no time",
    "error_on_chunk_number": "write {kind}('one ', disconnect()), which fails where that stands",
    "error": "write {kind}('one ', disconnect()), which fails where that stands",
    "i": "leave it out: .calls has what was asked",
    "queries": "write {kind}().when('question', 'answer')",
    "sequential_responses": "write {kind}.replies('first', 'second')",
    "disable_streaming": "write streaming=False",
}
"""Arguments of LangChain's fakes."""
