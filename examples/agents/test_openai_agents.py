"""OpenAI's Agents SDK; two agents, of which one hands over to the other, on one fake."""

from agents import Agent, Runner, function_tool
from tools import weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user


def answer(question):
    forecaster = Agent(name="Forecaster", instructions="Tell the weather.", tools=[function_tool(weather)])
    desk = Agent(name="Desk", instructions="Hand over.", handoffs=[forecaster])
    return Runner.run_sync(desk, question).final_output


def test_two_cities(fake_openai):
    fake_openai.play(
        conversation(
            user("Rain in Paris or Rome?"),
            calls("transfer_to_forecaster"),
            result({"assistant": "Forecaster"}),
            calls("weather", city="Paris"),
            calls("weather", city="Rome"),
            result("light rain"),
            result("sun"),
            says("In Paris."),
        )
    )
    assert answer("Rain in Paris or Rome?") == "In Paris."
    assert tools_called(fake_openai) == ["transfer_to_forecaster", "weather", "weather"]
    check_loop(fake_openai, max_steps=3)
