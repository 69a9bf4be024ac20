"""The tools of all agents here, and their schemas."""


def weather(city: str) -> str:
    """Return the weather of a city."""
    return {"Paris": "light rain", "Rome": "sun"}[city]


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
