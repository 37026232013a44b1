#!/bin/sh
# Runs every work of bench/bench.c once at a tiny size, and checks what the program
# prints: its form, never a time. Usage: tests/test_bench.sh [BUILD] from the root.
bench=${1:-${BUILD:-build}}/bench/bench
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export TG_JIT="${TG_JIT:-off}" TG_CACHE_DIR="$tmp/cache"
passed=0
failed=0

# check WHAT COMMAND...: the command must succeed.
check() {
  what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $what"
    sed 's/^/  | /' "$tmp/out" | tail -n 12
  fi
}

# says PATTERN: a whole line of what was printed last.
says() { check "no line '$1'" grep -qxE -e "$1" "$tmp/out"; }

time='[0-9]+\.[0-9]+'
"$bench" list >"$tmp/list"
check 'bench list fails' test -s "$tmp/list"
cut -d ' ' -f 2 "$tmp/list" >"$tmp/works"
check 'a work is listed twice' sh -c "test -z \"\$(sort '$tmp/works' | uniq -d)\""
"$bench" --tiny quick >"$tmp/out"
check 'bench quick fails' test $? -eq 0
while read -r work; do
  says "$work +$time +$time +$time +[0-9]+ %"
done <"$tmp/works"

# The protocol: one line per request, errors too.
printf 'run tiny8 3 more words\ninfo mlp1\nrun nothing 1\nhello\nrun mlp1 1\n' |
  "$bench" --tiny serve >"$tmp/out"
check 'bench serve fails' test $? -eq 0
says "times $time $time $time"
says "info $time $time"
says 'error there is no work named nothing'
says 'error no such request: hello'
says "times $time"
check 'one line per request' test "$(wc -l <"$tmp/out")" -eq 5
"$bench" --tiny once overhead >"$tmp/out"
says "once $time $time $time $time $time"
"$bench" --tiny quick nothing >"$tmp/out"
check 'an unknown work is no error' test $? -eq 1
"$bench" nonsense >"$tmp/out"
check 'an unknown command is no error' test $? -eq 2

# What needs nothing but Python: the driver knows the same rows.
if python3 -c 'import argparse' 2>/dev/null; then
  python3 bench/run.py --build "$(dirname "$(dirname "$bench")")" --list >"$tmp/rows"
  sed 's|/.*||' "$tmp/rows" | sort -u >"$tmp/out"
  sort "$tmp/works" | check 'the driver lists other rows' cmp - "$tmp/out"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
