#!/usr/bin/env bash
# tenacity 9.1.4: with `wait_random_exponential(min=1, max=60)`, which guides to rate limits recommend, the first wait is never random.
#
# Guessed: a wait that is drawn anew for each client, as the name says and the guides promise ("random exponential backoff"),
# so that a hundred clients that were refused together come back at a hundred moments.
# Seen: the n-th wait is drawn between `min` and 2**(n-1) seconds, so the first one between 1 and 1: all hundred come back after
# exactly 1 s, and only those that are refused a second time are spread. Without `min=1` they are.
#
# Installs its packages into a temporary folder; no wait is a real one; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "tenacity==9.1.4" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import tenacity


def waits(wait):
    """Return the waits of one client that is refused six times."""
    slept = []

    @tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(6), sleep=slept.append)
    def ask():
        raise ConnectionError

    try:
        ask()
    except tenacity.RetryError:
        return slept


for label, wait in {
    "wait_random_exponential(min=1, max=60)": tenacity.wait_random_exponential(min=1, max=60),
    "wait_random_exponential(max=60)": tenacity.wait_random_exponential(max=60),
}.items():
    clients = [waits(wait) for _ in range(100)]
    for number in (1, 2, 3):
        moments = {client[number - 1] for client in clients}
        print(f"{label}, retry {number} of 100 clients: {'one moment' if len(moments) == 1 else 'many moments'}")
    if len({client[0] for client in clients}) == 1:
        print(f"the one moment: after {clients[0][0]} s")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^tenacity "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
wait_random_exponential(min=1, max=60), retry 1 of 100 clients: one moment
wait_random_exponential(min=1, max=60), retry 2 of 100 clients: many moments
wait_random_exponential(min=1, max=60), retry 3 of 100 clients: many moments
the one moment: after 1.0 s
wait_random_exponential(max=60), retry 1 of 100 clients: many moments
wait_random_exponential(max=60), retry 2 of 100 clients: many moments
wait_random_exponential(max=60), retry 3 of 100 clients: many moments
EXPECTED
