"""An app that streams: it prints a song token by token, and says so when the song was cut short."""


def sing(llm, topic):
    """Print the tokens as they come and return the song."""
    song = ""
    try:
        for token in llm.stream(f"Write me a song about {topic}."):
            print(token, end="", flush=True)
            song += token
    except ConnectionError:
        song += " ... (cut short)"
    print()
    return song


async def sing_async(llm, topic):
    """Do the same in an event loop."""
    song = ""
    async for token in llm.astream(f"Write me a song about {topic}."):
        print(token, end="", flush=True)
        song += token
    print()
    return song
