#!/bin/sh
# tools/loc.sh: lines per room. "code" leaves out blank lines and lines that are
# all comment; "all" is what wc -l says. The last rows are sums.
cd "$(dirname "$0")/.." || exit 1

count() { # NAME FILES...
  name=$1
  shift
  awk -v name="$name" '
    { all++ }
    /^[ \t]*$/ { next }
    inside { if (/\*\//) inside = 0; next }
    /^[ \t]*\/\// { next }
    /^[ \t]*\/\*/ { if (!/\*\//) inside = 1; else if (!/\*\/[ \t]*$/) code++; next }
    { code++ }
    END { printf "%-24s %7d %7d\n", name, code, all }' "$@" /dev/null
}
room() { count "$1" $(find "$2" \( -name '*.c' -o -name '*.h' -o -name '*.def' -o -name '*.inc' -o -name '*.cpp' \) | sort); }

printf '%-24s %7s %7s\n' room code all
rooms=$(for d in tensor nn autograd graph compile backend runtime io base; do [ -d src/$d ] && echo src/$d; done)
{ count include/ $(find include -name '*.h')
  for d in $rooms; do
    if [ "$d" = src/backend ]; then
      count src/backend/ $(find src/backend -maxdepth 1 -type f)
      for b in src/backend/*/; do room "$b" "$b"; done
    else room "$d/" "$d"
    fi
  done
} | awk '{ print; code += $(NF - 1); all += $NF } END { printf "%-24s %7d %7d\n", "the library", code, all }'
# Values made by a script are numbers, not code: the rows of tests leave them out.
room examples/ examples
count tests/ $(find tests -name '*.c' -o -name '*.h' -o -name '*.cpp' | grep -v values | sort)
room bench/ bench
