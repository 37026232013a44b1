#!/bin/sh
# tests/test_parity.sh: every name of tests/parity.txt is declared in the public
# header and used by the test program. With -l it prints where.
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
for row in $(grep -v '^#' tests/parity.txt); do
  name=tg_${row#*=}
  users=$(grep -lwE "\(?$name\)?|${name}_(to|by|axes)" tests/test_*.c | sed 's|tests/||' | tr '\n' ' ')
  if ! grep -qE "[ *(]$name(_to|_by|_axes)?[)]?\(" include/teenygrad/teenygrad.h; then
    echo "$name (${row%%=*}) is not in the header"
    failed=$((failed + 1))
  elif [ -z "$users" ]; then
    echo "$name (${row%%=*}) is used by no test"
    failed=$((failed + 1))
  else
    [ "${1-}" = -l ] && echo "${row%%=*}: $users"
    passed=$((passed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
