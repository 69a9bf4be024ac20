"""Measures what a gateway does to a stream: the time to its first token, and the gaps between tokens.

`locust --host http://127.0.0.1:4000 --headless --users 50 --spawn-rate 50 --run-time 30s`

Beside Locust's own row of each request there are two more: TTFT is when the first token came, GAP the longest silence
between two tokens of a stream. A stream that is not whole is a failure. Ask the fakes themselves first (`--host
http://127.0.0.1:8081/openai`): what is slower with the gateway between is the gateway.
"""

import json
import os
import time
from itertools import pairwise

from locust import HttpUser, constant, events, task

KEY = os.environ.get("GATEWAY_KEY", "sk-any")
MODEL = os.environ.get("MODEL", "fake")


def measured(kind, seconds):
    """Note a time beside those that Locust notes itself."""
    events.request.fire(
        request_type=kind, name="stream", response_time=seconds * 1000, response_length=0, exception=None, context={}
    )


class Reader(HttpUser):
    """Somebody who asks, reads to the end, and asks again."""

    wait_time = constant(0)

    @task
    def read(self):
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Say something."}]}
        headers = {"authorization": f"Bearer {KEY}"}
        began = time.perf_counter()
        with self.client.post(
            "/v1/chat/completions", json=body, headers=headers, stream=True, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                return
            try:
                times, is_whole = arrivals(answer)
            except OSError as error:
                answer.failure(f"the stream broke: {error}")
                return
            if not (times and is_whole):
                answer.failure(f"the stream is not whole: {len(times)} tokens")
                return
            measured("TTFT", times[0] - began)
            measured("GAP", max((later - earlier for earlier, later in pairwise(times)), default=0))
            answer.success()


def arrivals(answer):
    """Return when each token came, and whether the stream said that it was whole."""
    times, is_whole = [], False
    for line in answer.iter_lines(chunk_size=None):  # each chunk as it comes
        if line == b"data: [DONE]":
            is_whole = True
        elif line.startswith(b"data: "):
            choices = json.loads(line[6:]).get("choices")
            if choices and choices[0]["delta"].get("content"):
                times.append(time.perf_counter())
    return times, is_whole
