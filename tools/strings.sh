#!/bin/sh
# tools/strings.sh FILE: its lines as C string literals, for an array of them.
# Comments and empty lines are left out: a compiler reads the result over and over.
awk '/^\/\*/ { comment = 1 } { line = $0; skip = comment || line == "" }
     comment && /\*\/ *$/ { comment = 0 } { if (!skip) print line }' "$1" |
  sed 's/\\/\\\\/g; s/"/\\"/g; s/  *\\\\$/ \\\\/; s/^/    "/; s/$/\\n",/'
