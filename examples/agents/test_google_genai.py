"""A loop that Google's SDK runs itself: it is given the function, and calls it."""

from google import genai
from google.genai import types
from tools import weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user


def answer(question):
    client = genai.Client()
    config = types.GenerateContentConfig(tools=[weather])
    return client.models.generate_content(model="gemini-2.5-flash", contents=question, config=config).text


def test_two_cities(fake_gemini):
    fake_gemini.play(
        conversation(
            user("Rain in Paris or Rome?"),
            calls("weather", city="Paris"),
            calls("weather", city="Rome"),
            result("light rain"),
            result("sun"),
            says("In Paris."),
        )
    )
    assert answer("Rain in Paris or Rome?") == "In Paris."
    assert tools_called(fake_gemini) == ["weather", "weather"]
    check_loop(fake_gemini, max_steps=2)
