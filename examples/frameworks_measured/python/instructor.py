import instructor
import openai
from pydantic import BaseModel

PACKAGES = ["instructor", "openai"]


class get_weather(BaseModel):  # noqa: N801 - the name of the tool
    city: str


def ask(seen, url, model, tools):
    mode = instructor.Mode.TOOLS if tools else instructor.Mode.JSON
    client = instructor.from_openai(openai.OpenAI(base_url=url, max_retries=0), mode=mode)
    asked = {"messages": [{"role": "user", "content": "Go on."}], "model": model, "max_retries": 0}
    for partial in client.create_partial(get_weather, **asked):
        seen.found["runs"] = [
            ["get_weather", partial.model_dump()]
        ]  # the object as far as it is there; the last one stands
