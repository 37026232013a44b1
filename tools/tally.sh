# tools/tally.sh: counts for scripts that run several checks; sourced, not run.
#
#   piece NAME COMMAND ...   runs it, shows its output, and adds the numbers of
#                            its last line "N passed, N failed"; a piece without
#                            such a line counts as one check
#   tally                    prints the sum and gives 0 when nothing failed
#
# A piece that ends with an error although it counted no failure counts as one.
tally_passed=0
tally_failed=0
tally_logs=${tally_logs:-${BUILD:-build}/logs}
mkdir -p "$tally_logs"

piece() {
  tally_name=$1
  shift
  tally_log=$tally_logs/$(echo "$tally_name" | tr -c 'a-zA-Z0-9\n' '_').log
  echo "== $tally_name"
  tally_start=$(date +%s)
  { "$@" 2>&1 && echo '#ok' || echo '#bad'; } >"$tally_log"
  tally_state=$(tail -n 1 "$tally_log")
  sed -i '$d' "$tally_log"
  tally_line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$tally_log" | tail -n 1)
  if [ -n "$tally_line" ]; then
    tally_p=${tally_line%% passed*}
    tally_f=${tally_line#*, }
    tally_f=${tally_f%% failed*}
  elif [ "$tally_state" = '#ok' ]; then tally_p=1 tally_f=0
  else tally_p=0 tally_f=1
  fi
  [ "$tally_state" = '#ok' ] || [ "$tally_f" -gt 0 ] || tally_f=1
  tally_passed=$((tally_passed + tally_p))
  tally_failed=$((tally_failed + tally_f))
  # A piece that passed shows its last words, one that failed all that fits.
  if [ "$tally_f" -eq 0 ]; then tail -n 3 "$tally_log"; else tail -n "${TALLY_LINES:-60}" "$tally_log"; fi
  echo "-- $tally_name: $tally_p passed, $tally_f failed ($(($(date +%s) - tally_start)) s)"
}

tally() {
  echo "$tally_passed passed, $tally_failed failed"
  [ "$tally_failed" -eq 0 ] && [ "$tally_passed" -gt 0 ]
}
