"""An app on Instructor that streams an object, and shows it while it fills."""

import instructor
import openai
from pydantic import BaseModel


class Country(BaseModel):
    country: str
    capital: str
    population_m: float


def lookup(question, model="gpt-4o"):
    """Yield the object as it fills. Raises `pydantic.ValidationError` if the answer ends before it is full."""
    client = instructor.from_openai(openai.OpenAI(timeout=30, max_retries=0), mode=instructor.Mode.JSON_SCHEMA)
    messages = [{"role": "user", "content": question}]
    partial = Country.model_construct()
    for partial in client.create_partial(Country, messages=messages, model=model, max_retries=0):
        yield partial
    Country.model_validate(partial.model_dump())  # Instructor is content with an answer that ends in the middle
