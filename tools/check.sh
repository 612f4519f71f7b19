#!/usr/bin/env bash
# What `make check` runs, tests first, each step whatever became of the one before; then how long each
# took, and what could not be checked here. Exit 1 if any step failed.
#
# CI=true: what takes longer than it may is a failed step, elsewhere only a line.
# WRAITH_REQUIRE_NATIVE=1: a native part that cannot be built is a failure, not a line.
# WRAITH_REQUIRE_INTEROP: foreign peers that must be there (tools/build-interop.sh).
set -u -o pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
make=${MAKE:-make}
limit_s=3600
test_limit_s=1500
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
summary=()
passed=0
failed=0

step() { # name, command...
  local name="$1" began=$SECONDS verdict=ok
  shift
  printf '\n=== %s\n' "$name"
  if "$@" 2>&1 | tee -a "$log"; then passed=$((passed + 1)); else verdict=FAILED failed=$((failed + 1)); fi
  summary+=("$(printf '%-14s %6d s  %s' "$name" $((SECONDS - began)) "$verdict")")
  [ "$verdict" = ok ]
}

within() { # name, seconds that it took, seconds that it may take
  [ "$2" -gt "$3" ] || return 0
  echo "$1: $2 s, over the limit of $3 s"
  [ "${CI:-}" != true ] || failed=$((failed + 1))
}

native_options=()
[ "${WRAITH_REQUIRE_NATIVE:-0}" = 0 ] || native_options=(--require)

step setup "$make" --no-print-directory setup || exit 1
step native sh tools/build-native.sh "$python" ${native_options[@]+"${native_options[@]}"}
step peers sh tools/build-interop.sh
step link sh tools/build-link.sh
tests_began=$SECONDS
step test "$python" -m pytest -q -n 2 --dist worksteal -m "not slow and not install"
test_s=$((SECONDS - tests_began))
# What this machine runs itself; `make dist-check` also builds for others.
step dist "$make" --no-print-directory dist-check ONLY=python,native-sources,x86_64,pex,deb,recipes
step lint "$make" --no-print-directory lint
step types "$make" --no-print-directory types
step architecture "$make" --no-print-directory architecture
step docs "$make" --no-print-directory docs
step native-check sh tools/check-native.sh "$python"
step advisories sh tools/check-advisories.sh
step spec "$python" tools/spec_coverage.py --changed --at-most 600

printf '\n=== summary\n'
printf '%s\n' "${summary[@]}"
printf '%-14s %6d s\n' total "$SECONDS"
within test "$test_s" "$test_limit_s"
within total "$SECONDS" "$limit_s"
unchecked="$(grep -i 'not checked' "$log" | sort -u)"
if [ -n "$unchecked" ]; then
  printf 'not checked here: %s\n%s\n' "$(printf '%s\n' "$unchecked" | wc -l)" "$unchecked"
fi
echo "steps: $passed passed, $failed failed"
[ "$failed" = 0 ]
