from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types

PACKAGES = ["google-adk", "litellm", "openai"]


async def ask(seen, url, model, tools):
    chat = LiteLlm(f"openai/{model}", api_base=url, api_key="none", max_retries=0)
    runner = InMemoryRunner(LlmAgent(name="app", model=chat, tools=list(seen.tools) if tools else []), app_name="app")
    session = await runner.session_service.create_session(app_name="app", user_id="me")
    said = types.Content(role="user", parts=[types.Part(text="Go on.")])
    config, used = RunConfig(streaming_mode=StreamingMode.SSE), [0, 0]
    async for event in runner.run_async(user_id="me", session_id=session.id, new_message=said, run_config=config):
        if event.error_code or event.error_message:
            raise RuntimeError(f"event.error_code: {event.error_code} {event.error_message}")
        for part in (event.content.parts or ()) if event.content and event.partial else ():
            (seen.reasoning if part.thought else seen.text)(part.text)
        seen.finish(event.finish_reason)
        if event.usage_metadata and not event.partial:
            came, went = event.usage_metadata.prompt_token_count, event.usage_metadata.candidates_token_count
            used = [used[0] + (came or 0), used[1] + (went or 0)]
            seen.usage(*used)
