import os

# Else threads send the traces of your tests away, when the run ends and no fake is on any more.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
