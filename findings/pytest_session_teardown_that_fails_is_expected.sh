#!/usr/bin/env bash
# pytest 9.2.0: what a session fixture raises at its end is "expected" where the last test to run is one that may fail.
#
# Guessed: an error of a fixture's teardown is an error, whatever test happened to be the last; the mark speaks of the test.
# Seen: the teardown of all wider fixtures runs as part of the last test, and `xfail` covers each phase of that. The run
# reports one more expected failure, exits with 0, and shows no traceback. The same fixture with another last test: 1 error.
#
# Installs its packages into a temporary folder; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "pytest==9.2.0"
cd "$work"
cat > conftest.py <<'PYTHON'
import pytest


@pytest.fixture(scope="session")
def account():
    yield "name"
    raise RuntimeError("the account is still open")
PYTHON
cat > test_expected.py <<'PYTHON'
import pytest


def test_plain(account):
    assert account == "name"


@pytest.mark.xfail(reason="known")
def test_known(account):
    assert account == "other"
PYTHON
cat > test_plain.py <<'PYTHON'
def test_plain(account):
    assert account == "name"
PYTHON
for file in test_expected.py test_plain.py; do
    code=0
    env/bin/pytest -q -p no:cacheprovider --tb=no "$file" > said || code=$?
    echo "$file: exit code $code, $(tail -n 1 said | sed 's/ in .*//')"
done | tee out
diff out - <<'EXPECTED'
test_expected.py: exit code 0, 1 passed, 2 xfailed
test_plain.py: exit code 1, 1 passed, 1 error
EXPECTED
