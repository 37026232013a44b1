#!/bin/sh
# python/test.sh: makes a virtual environment under $BUILD, installs the package with
# what the tests compare it with, runs them (arguments go to pytest), and ends with
# one line "N passed, N failed". From the repository's root.
set -e
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
venv=$BUILD/venv
[ -x "$venv/bin/python" ] || ${PYTHON:-python3} -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy pytest hypothesis tqdm mypy
"$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps ./python
unset TG_DEVICE DEBUG
"$venv/bin/python" -m pytest -q -p no:cacheprovider python/tests "$@" >"$BUILD/test-python.log" 2>&1 || failed=1
tail -n 40 "$BUILD/test-python.log"
count() { tail -n 1 "$BUILD/test-python.log" | grep -oE "[0-9]+ $1" | grep -oE '[0-9]+' || echo 0; }
bad=$(($(count failed) + $(count error)))
[ -z "$failed" ] || [ "$bad" -gt 0 ] || bad=1
echo "$(count passed) passed, $bad failed"
[ "$bad" -eq 0 ]
