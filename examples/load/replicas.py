"""Asks servers behind a load balancer, and tells of each stream who played it, whether it is whole, and what it was.

`STREAMS=streams.jsonl locust --locustfile replicas.py --headless --users 24 --spawn-rate 24 --host http://127.0.0.1:8080`

Each reader asks some times, one of three prompts after the other, and leaves; when all have left the run is over. The
file that STREAMS names gets a line of JSON for each stream. A stream that broke is a failure in Locust's table.
"""

import hashlib
import json
import os
from pathlib import Path

from locust import HttpUser, constant, task
from locust.exception import StopUser

READS = int(os.environ.get("READS", "4"))
STREAMS = Path(os.environ.get("STREAMS", "streams.jsonl"))


class Reader(HttpUser):
    """Somebody who reads some streams to their ends."""

    wait_time = constant(0)
    begun = left = 0

    def on_start(self):
        self.number = Reader.begun
        Reader.begun += 1
        self.read_so_far = 0

    def on_stop(self):
        Reader.left += 1
        if Reader.left == self.environment.parsed_options.num_users:
            self.environment.runner.quit()

    @task
    def read(self):
        if self.read_so_far == READS:
            raise StopUser
        prompt = (self.number + self.read_so_far) % 3
        self.read_so_far += 1
        body = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": f"prompt {prompt}"}]}
        broke, taken = None, hashlib.sha256()
        with self.client.post("/openai/v1/chat/completions", json=body, stream=True, catch_response=True) as answer:
            try:
                answer.raise_for_status()
                for piece in answer.iter_content(None):
                    taken.update(piece)
            except OSError as error:  # all that requests raises
                broke = str(error) or type(error).__name__
                answer.failure(broke)
            else:
                answer.success()
            by = answer.headers.get("x-served-by", "")
        with STREAMS.open("a") as log:
            log.write(json.dumps({"prompt": prompt, "by": by, "broke": broke, "sha256": taken.hexdigest()}) + "\n")
