#!/usr/bin/env bash
# mkdocs 1.6.1: `--strict` fails on a broken link, but not together with `--quiet`.
#
# Guessed: --quiet silences what is printed, and the exit status stays that of --strict.
# Seen: --quiet raises the level of the logger to ERROR, before which warnings no longer reach the handler that counts them
# for --strict. A build with a broken link exits with 1 without --quiet, and with 0 with it, and prints nothing.
#
# Installs its packages into a temporary folder; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "mkdocs==1.6.1" 2>/dev/null
mkdir "$work/docs"
echo 'site_name: links' > "$work/mkdocs.yml"
printf '# Links\n\nSee [the other page](missing.md).\n' > "$work/docs/index.md"

build() { "$work/env/bin/mkdocs" build --config-file "$work/mkdocs.yml" --site-dir "$work/site" "$@" > "$work/out" 2>&1 && echo 0 || echo $?; }

"$work/env/bin/mkdocs" --version | sed 's/ from .*//'
strict=$(build --strict)
echo "--strict: exit $strict"
grep -o "contains a link 'missing.md', but the target is not found" "$work/out"
quiet=$(build --strict --quiet)
echo "--strict --quiet: exit $quiet, $(wc -c < "$work/out") bytes printed"
[ "$strict" = 1 ] && [ "$quiet" = 0 ] && [ ! -s "$work/out" ]
