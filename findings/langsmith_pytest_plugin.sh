#!/usr/bin/env bash
# langsmith 0.15.1 comes along with langchain-core, and its pytest plugin loads a whole client at every start of pytest.
#
# Guessed: a plugin that only adds an option and a marker loads pytest and little else until a test asks for it.
# Seen: at each start, without a test in sight, it imports langsmith's client with requests and pydantic: more modules than
# pytest itself, and twice its time. Each worker of pytest-xdist pays again. `-p no:langsmith_plugin` turns it off.
#
# Installs its packages into a temporary folder; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "langchain-core==1.8.3" "langsmith==0.15.1" "pytest==9.2.0" 2>/dev/null
mkdir "$work/empty"
cd "$work/empty"
unset LANGSMITH_TRACING LANGCHAIN_TRACING_V2 PYTEST_ADDOPTS

modules() { "$work/env/bin/python" -X importtime -m pytest --collect-only "$@" 2>&1 >/dev/null | grep -c "^import time:" || true; }
seconds() { local begun=$EPOCHREALTIME; "$work/env/bin/python" -m pytest --collect-only "$@" >/dev/null || true; echo "$EPOCHREALTIME $begun" | awk '{ printf "%.2f", $1 - $2 }'; }

"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(langchain-core|langsmith|pytest) "
with=$(modules)
without=$(modules -p no:langsmith_plugin)
echo "modules at the start of pytest: $with, and $without without the plugin"
echo "seconds: $(seconds), and $(seconds -p no:langsmith_plugin) without the plugin"
{ "$work/env/bin/python" -X importtime -m pytest --collect-only 2>&1 >/dev/null || true; } |
    grep -oE "\| +(requests|pydantic|langsmith\.client)$" | tr -d '| ' | sort > "$work/loaded"
cat "$work/loaded"
[ "$(wc -l < "$work/loaded")" = 3 ]
[ "$with" -gt $((without * 2)) ]
