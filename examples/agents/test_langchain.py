"""LangChain's `create_agent`, with a provider's model and with a fake one."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from tools import weather

from fakellm import FakeChatModel
from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user
from fakellm.integrations.langchain import as_langchain_chat_model

TALK = conversation(
    user("Rain in Paris or Rome?"),
    calls("weather", city="Paris"),
    calls("weather", city="Rome"),
    result("light rain"),
    result("sun"),
    says("In Paris."),
)


def answer(question, model):
    agent = create_agent(model, tools=[weather], system_prompt="Be brief.")
    return agent.invoke({"messages": [{"role": "user", "content": question}]})["messages"][-1].content


def test_two_cities(fake_openai):
    fake_openai.play(TALK)
    assert answer("Rain in Paris or Rome?", ChatOpenAI(model="gpt-5")) == "In Paris."
    assert tools_called(fake_openai) == ["weather", "weather"]
    check_loop(fake_openai, max_steps=2)


def test_two_cities_of_a_fake_model():
    fake = FakeChatModel().play(TALK)
    assert answer("Rain in Paris or Rome?", as_langchain_chat_model(fake)) == "In Paris."
    fake.verify()
    check_loop(fake, max_steps=2)
