#!/usr/bin/env bash
# langchain-core 1.8.3: `.map()` over a generator calls nothing and returns an empty list.
#
# Guessed: `step.map().invoke(inputs)` maps any iterable, a generator as a list.
# Seen: of a generator nothing is left when the step comes to it: the inputs are counted first, for a config each. No error
# is raised; a list and a range are mapped. `batch` refuses a generator with a `TypeError`.
#
# Installs its packages into a temporary folder; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "langchain-core==1.8.3" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
from langchain_core.runnables import RunnableLambda

called = []


def step(number):
    called.append(number)
    return number + 1


each = RunnableLambda(step).map()
for inputs in ([0, 1, 2], range(3), (number for number in range(3))):
    called.clear()
    print(type(inputs).__name__, each.invoke(inputs), "called with", sorted(called))
try:
    RunnableLambda(step).batch(number for number in range(3))
except TypeError as error:
    print("batch:", error)
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(langchain-core) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
list [1, 2, 3] called with [0, 1, 2]
range [1, 2, 3] called with [0, 1, 2]
generator [] called with []
batch: object of type 'generator' has no len()
EXPECTED
