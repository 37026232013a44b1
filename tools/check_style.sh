#!/bin/sh
# tools/check_style.sh: the habits of this code that a script can see. One line
# per finding, then "N passed, N failed" (one check per habit).
#
#   lines          at most 100 columns (not in tests), no tabs, no blanks at the end
#   opening        every file starts with a comment that says what it is
#   functions      at most 60 lines
#   prefix         what other files can see starts with tg_ (in the library)
#   names          no two .c files of the library give one name at file scope:
#                  the amalgamation puts them into one
#   no way out     the library neither prints nor ends the process
#   table          switches over tg_op and tg_dtype carry no default
#
# BUILD names the build folder whose libteenygrad.a is looked at.
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
passed=0
failed=0
tmp=$(mktemp) || exit 1
trap 'rm -f "$tmp"' EXIT

code=$(find include src examples tests bench -name '*.c' -o -name '*.h' -o -name '*.def' \
  -o -name '*.inc' -o -name '*.cpp' | LC_ALL=C sort)
# Files of numbers, made by a script, are no code.
code=$(for f in $code; do case $f in tests/oracle/*) ;; *) echo "$f" ;; esac; done)
library=$(find src -name '*.c' | LC_ALL=C sort)

# habit NAME: what $tmp holds are findings.
habit() {
  if [ -s "$tmp" ]; then
    sed "s/^/$1: /" "$tmp"
    failed=$((failed + 1))
  else
    passed=$((passed + 1))
  fi
}

# In tests/ a test is one line, however long.
awk 'length($0) > 100 && FILENAME !~ "^tests/" { print FILENAME ":" FNR ": " length($0) " columns" }
     /\t/ { print FILENAME ":" FNR ": a tab" }
     /[ ]$/ { print FILENAME ":" FNR ": a blank at the end" }' $code >"$tmp"
habit lines

for f in $code; do
  head -n 1 "$f" | grep -qE '^(/\*|//)' || echo "$f"
done >"$tmp"
habit opening

# A function starts at a line that begins in column 1 and ends in "{", or whose
# next lines do, and ends at "}" in column 1.
awk 'FNR == 1 { start = 0 }
     /^[A-Za-z_].*\)[ ]*\{[ ]*$/ || /^[A-Z]+\([A-Za-z_0-9]+\)[ ]*\{/ { start = FNR; name = $0 }
     /^[ ]+.*\)[ ]*\{[ ]*$/ && open && !start { start = open; name = head }
     /^[A-Za-z_][A-Za-z_0-9 *]*\([^;{]*$/ { open = FNR; head = $0 }
     /;[ ]*$/ { open = 0 }
     /^}/ { if (start && FNR - start + 1 > 60)
              print FILENAME ":" start ": " FNR - start + 1 " lines: " name
            start = 0; open = 0 }' $code >"$tmp"
habit functions

if [ -f "$BUILD/libteenygrad.a" ]; then
  nm -g --defined-only "$BUILD/libteenygrad.a" | awk 'NF == 3 && $3 !~ /^tg_/ { print $3 }' |
    grep -v -e '^__' >"$tmp"
  habit prefix
fi

for f in $library; do
  awk '
    /^static / && !/;[ ]*$/ || /^static [^(]*(=|;)/ {
      line = $0
      sub(/[=({\[;].*/, "", line)
      sub(/[ ]+$/, "", line)
      sub(/.*[ *]/, "", line)
      if (line != "" && !seen[line]++) print line
    }
    /^} [A-Za-z_0-9]+;/ { name = $2; sub(/;/, "", name); if (!seen[name]++) print name }
    ' "$f" | sed "s|\$| $f|"
done | sort | awk '{ where[$1] = where[$1] " " $2; times[$1]++ }
  END { for (name in times) if (times[name] > 1) print name " in" where[name] }' | sort >"$tmp"
habit names

grep -nE '\b(abort|exit|_exit|quick_exit|assert|printf|puts|putchar|perror)[ ]*\(' $library |
  grep -vE '^[^:]*:[0-9]+: *(\*|/\*|//)' >"$tmp"
habit 'no way out'

# A "default:" in a file that switches over ops or dtypes.
awk '/switch *\(.*(op|dtype)\)? *\)* *\{/ { over = FNR }
     /^[ ]*default:/ && over && FNR - over < 60 { print FILENAME ":" FNR ": default" }
     /^}/ { over = 0 }' $library >"$tmp"
habit table

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
