#!/bin/sh
# The documents are true: README.md, DEVELOPERS.md and docs/*.md.
#
#   ```c            a program (it has a main), or statements that this script puts
#                   into one: compiled and run; ```c NAME saves it as NAME first
#   ```c FILE       with a / in it: an excerpt; each line stands in FILE
#   ```sh           commands: run when a ```text block follows, otherwise only the
#                   targets of make and the programs named must exist
#   ```text         what the block before it prints
#   ```python       python/tests/test_docs.py runs it
#
# In ```text a line "..." stands for any number of lines. Times, rates and
# addresses are taken out on both sides before comparing.
#
# Beyond that: every name tg_... in the documents exists in the code, every path
# in backticks and every link leads somewhere, and docs/env.md lists the
# environment variables that the code reads, no more and no less.
# --update writes what was printed into ```text blocks that differ: read the
# change before it is kept. BUILD and CC as in the Makefile.
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=${BUILD:-build}
cc=${CC:-cc}
libs=${TG_LIBS:--lz -lm -ldl -pthread}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0
case $build in /*) ;; *) build=$root/$build ;; esac

ok() { passed=$((passed + 1)); }
bad() {
  failed=$((failed + 1))
  echo "FAIL $1"
  [ -z "$2" ] || sed 's/^/  | /' "$2" | head -n "${3:-12}"
}

# A working folder that looks like the root, where programs may be saved.
mkdir "$tmp/root" "$tmp/blocks"
for entry in "$root"/*; do
  case ${entry##*/} in build) ;; *) ln -s "$entry" "$tmp/root/" ;; esac
done
ln -s "$build" "$tmp/root/build"
ln -s "$root/.ci" "$tmp/root/.ci"
cd "$tmp/root" || exit 1
documents="README.md DEVELOPERS.md $(cd "$root" && ls docs/*.md)"
unset TG_DEVICE TG_THREADS TG_GRAPH DEBUG TG_CC TG_CC_TIMEOUT TG_CACHE_MB
export CI=1 MAKEFLAGS= TG_JIT=off TG_CACHE_DIR="$build/cache"

# ---- blocks: one file each, and a line "number document line language info"
# shellcheck disable=SC2086
awk -v dir="$tmp/blocks" '
  FNR == 1 { inside = 0 }
  /^```/ && !inside {
    inside = 1
    n++
    language = substr($1, 4)
    printf "%d %s %d %s %s\n", n, FILENAME, FNR, language == "" ? "-" : language, $2
    file = dir "/" n
    printf "" > file
    next
  }
  /^```/ { inside = 0; close(file); next }
  inside { print > file }' $documents >"$tmp/list"

# What differs from run to run becomes "#".
steady() {
  sed -E -e 's/[0-9]+([.][0-9]+)? *(ns|us|µs|ms|s|GFLOP\/s|GB\/s)([^A-Za-z0-9]|$)/#\3/g' \
    -e 's/0x[0-9a-f]+/#/g' -e 's/[ 	]+/ /g' -e 's/ $//' -e 's/^ //' "$1"
}

# matches WANTED GOT: the lines in order, "..." skips any.
matches() {
  steady "$1" >"$tmp/w"
  steady "$2" >"$tmp/g"
  awk -v wanted="$tmp/w" '
    { got[NR] = $0 }
    END {
      at = 1
      skip = 0
      while ((getline line < wanted) > 0) {
        if (line == "...") { skip = 1; continue }
        while (skip && at <= NR && got[at] != line) at++
        if (at > NR || got[at] != line) { print "no line: " line; exit 1 }
        at++
        skip = 0
      }
      if (!skip && at <= NR) { print "one line too many: " got[at]; exit 1 }
    }' "$tmp/g"
}

# program BLOCK NAME: compiles it to ./NAME
program() {
  if grep -q 'main(' "$1"; then
    cp "$1" "$2.c"
  else
    {
      echo '#include <stdio.h>'
      echo '#include <teenygrad/teenygrad.h>'
      echo 'int main(void) {'
      echo '  TG_SCOPE {'
      cat "$1"
      echo '  }'
      echo '  if (tg_error()) return 1;'
      echo '  tg_shutdown();'
      echo '  return 0;'
      echo '}'
    } >"$2.c"
  fi
  # shellcheck disable=SC2086
  $cc -std=c11 -O1 -Wall -Wextra -Wno-unused -Werror -Iinclude "$2.c" build/libteenygrad.a $libs \
    -o "$2" >"$tmp/log" 2>&1
}

excerpt() { # BLOCK FILE
  while IFS= read -r line; do
    case $line in '' | '...') continue ;; esac
    grep -qF -- "$line" "$2" || { echo "$2 has no line: $line"; return 1; }
  done <"$1"
}

# Commands that are only named: make's targets and the programs must exist.
known() { # BLOCK
  sed -e 's/#.*//' -e 's/^[ ]*\([A-Z_]*=[^ ]* \)*//' "$1" | while read -r word rest; do
    case $word in
      '') ;;
      make)
        # shellcheck disable=SC2086
        eval "timeout 20 make -n BUILD=build $rest" >/dev/null 2>&1 || { echo "make $rest"; exit 1; } ;;
      build/*) [ -x "$word" ] || { echo "$word"; exit 1; } ;;
      *) command -v "$word" >/dev/null 2>&1 || [ -x "$word" ] ||
        case $word in clang | valgrind | dot | git | apt-get | gcc) ;; *) echo "$word"; exit 1 ;; esac ;;
    esac
  done
}

: >"$tmp/out"
python=
while read -r n document line language info; do
  block=$tmp/blocks/$n
  where=$document:$line
  next=$(awk -v n=$((n + 1)) -v d="$document" '$1 == n && $2 == d { print $4 }' "$tmp/list")
  case $language in
    c)
      case $info in
        */*) if excerpt "$block" "$info" >"$tmp/log" 2>&1; then ok; else bad "$where" "$tmp/log"; fi
          continue ;;
      esac
      name=${info:-block_$n}
      name=${name%.c}
      if ! program "$block" "$name"; then bad "$where does not compile" "$tmp/log"; continue; fi
      if ./"$name" >"$tmp/out" 2>&1; then ok; else bad "$where fails" "$tmp/out"; fi ;;
    sh)
      if [ "$next" = text ]; then
        if sh -e "$block" >"$tmp/out" 2>&1; then ok; else bad "$where fails" "$tmp/out"; fi
      elif known "$block" >"$tmp/log" 2>&1; then ok
      else bad "$where: no such command" "$tmp/log"
      fi ;;
    python) python=$n ;; # python/tests/test_docs.py runs these, and compares what they print
    text)
      [ "$python" = $((n - 1)) ] && continue
      if matches "$block" "$tmp/out" >"$tmp/log" 2>&1; then ok
      else
        sed 's/[ ]*$//' "$tmp/out" | tee "$tmp/blocks/$n.new" >>"$tmp/log"
        bad "$where is not what the block before it prints" "$tmp/log" 80
      fi ;;
    -) ;;
    *) bad "$where: a block in the language $language" ;;
  esac
done <"$tmp/list"

if [ "${1:-}" = --update ]; then
  for document in $documents; do
    awk -v dir="$tmp/blocks" -v document="$document" -v list="$tmp/list" '
      BEGIN { while ((getline line < list) > 0) { split(line, f, " "); if (f[2] == document) at[f[3]] = f[1] } }
      skipping && /^```/ { skipping = 0 }
      skipping { next }
      { print }
      FNR in at {
        new = dir "/" at[FNR] ".new"
        if ((getline line < new) > 0) {
          skipping = 1
          do print line; while ((getline line < new) > 0)
        }
      }' "$document" >"$tmp/updated"
    cmp -s "$tmp/updated" "$document" || cat "$tmp/updated" >"$root/$document"
  done
fi

# ---- names: each tg_... in the documents stands in the code
# shellcheck disable=SC2086
for name in $(grep -ohE '\btg_[a-zA-Z0-9_]+' $documents | sort -u); do
  case $name in *_) continue ;; esac
  if grep -rqwF -- "$name" include src tests/*.c tests/*.h examples; then ok
  else bad "no such name as $name, used in $(grep -lw "$name" $documents | tr '\n' ' ')"; fi
done

# ---- paths in backticks, targets of make in backticks, links
for document in $documents; do
  for path in $(grep -oE '`(src|include|tests|examples|bench|docs|tools|data|\.ci)/[A-Za-z0-9_./-]*`' \
    "$document" | tr -d '`' | sort -u); do
    if [ -e "$root/$path" ]; then ok; else bad "$document names $path, which is not there"; fi
  done
  for target in $(grep -oE '`make [a-z_-]+' "$document" | awk '{ print $2 }' | sort -u); do
    if timeout 20 make -n BUILD=build "$target" >/dev/null 2>&1; then ok
    else bad "$document names make $target, which is none"; fi
  done
  for link in $(grep -oE '\]\([^)#:]+\)' "$document" | sed 's/^](//; s/)$//' | sort -u); do
    if [ -e "$(dirname "$root/$document")/$link" ]; then ok
    else bad "$document links to $link, which is not there"; fi
  done
done

# ---- environment variables: those that the code reads are those in docs/env.md
grep -rhoE '\b(getenv|tg_env_int|tg_env_text)\("[A-Z_a-z0-9]+"' src examples tests bench tools |
  sed 's/.*("//; s/"//' | sort -u >"$tmp/read"
sed -n 's/^| `\([A-Za-z_0-9]*\)[`=].*/\1/p' docs/env.md | sort -u >"$tmp/listed"
if [ -s "$tmp/read" ]; then ok; else bad 'no environment variable found in the code'; fi
for name in $(comm -23 "$tmp/read" "$tmp/listed"); do bad "docs/env.md does not list $name"; done
for name in $(comm -13 "$tmp/read" "$tmp/listed"); do
  if grep -rqE "\\\$\{?$name\b" tests tools Makefile .ci 2>/dev/null; then ok
  else bad "docs/env.md lists $name, which nothing reads"; fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
