"""The app's own tests. No key, no network, no dice: the fake model says exactly what each test needs."""

import asyncio

from storyteller import sing, sing_async

from fakellm import FakeLLM, Script, disconnect


def test_prints_the_song_token_by_token(fake_llm, capsys):
    fake_llm.reply("Bub", "bles ", "rise, ", "bubbles ", "fall.")

    assert sing(fake_llm, "sparkling water") == "Bubbles rise, bubbles fall."
    assert fake_llm.calls[0].input == "Write me a song about sparkling water."

    with capsys.disabled():
        print("\n  ", *(f"[{token}]" for token in fake_llm.calls[0].chunks))


def test_a_model_that_cannot_stream_still_sings():
    llm = FakeLLM("One verse, ", "at once.", streaming=False)

    assert sing(llm, "tea") == "One verse, at once."
    assert llm.calls[0].delivered == 1


def test_says_so_when_the_connection_breaks(fake_llm):
    fake_llm.reply(Script.of("Oh my darling sparkling water").fail(disconnect(), after=3))

    assert sing(fake_llm, "sparkling water") == "Oh my darling  ... (cut short)"


def test_sings_in_an_event_loop(fake_llm):
    fake_llm.when("rain", "Drip, ", "drop.")

    assert asyncio.run(sing_async(fake_llm, "rain")) == "Drip, drop."
