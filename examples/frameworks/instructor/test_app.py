"""The tests of the app on Instructor: by a script, by a tape, and by every way in which an answer can break."""

import pydantic
import pytest
from app import Country, lookup
from instructor.core import InstructorError

from fakellm import Script, every_fault

FRANCE = Country(country="France", capital="Paris", population_m=2.1)
QUESTION = "Answer as JSON: the capital of France."


def test_streams_the_object(fake_openai):
    fake_openai.reply('{"country": "France", ', '"capital": "Paris", ', '"population_m": 2.1}')
    shown = [partial.model_dump(exclude_none=True) for partial in lookup("Which capital has France?")]
    assert {"country": "France"} in shown
    assert shown[-1] == FRANCE.model_dump()
    assert fake_openai.calls[0].json["response_format"]["type"] == "json_schema"


@pytest.mark.cassette("france.yaml")
def test_a_recorded_session(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8123/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    *_, last = lookup(QUESTION, model="tiny-llama")
    assert last.model_dump() == FRANCE.model_dump()


@every_fault(
    Script.of(FRANCE.model_dump_json(indent=1)), unchecked="half an object lacks a field, as does one that broke off"
)
def test_never_takes_half_an_object_for_a_whole_one(faulty, fake_openai):
    fake_openai.otherwise(faulty)
    try:
        *_, last = lookup(QUESTION)
    except (InstructorError, pydantic.ValidationError):
        return
    assert last.model_dump() == FRANCE.model_dump()  # what is lost after the last brace is not missed
