import os

# Where your shell says "true", a thread sends the traces of your tests to LangSmith, also when the run has ended.
os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
