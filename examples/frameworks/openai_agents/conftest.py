import os

# Else a thread sends the traces of your tests to OpenAI, when the run ends and no fake is on any more.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
