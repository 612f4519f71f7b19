#!/bin/sh
# Builds native/link, the emulated link of benchmarks and tests, into interop-bin/, where cargo is
# present. It is no part of the wheel. What is newer than its sources is kept.
set -eu
root="$(cd "$(dirname "$0")/.." && pwd)"
out="$root/interop-bin/wraith-link"
if ! command -v cargo >/dev/null 2>&1; then
  echo "emulated link: not built (cargo is not installed)"
  exit 0
fi
if [ -x "$out" ] && [ -z "$(find "$root/native/link" -type f -newer "$out")" ]; then
  exit 0
fi
mkdir -p "$root/interop-bin"
cd "$root/native/link"
CARGO_TARGET_DIR="$root/native/target/link"
export CARGO_TARGET_DIR
cargo build --release --locked --quiet
cp "$CARGO_TARGET_DIR/release/wraith-link" "$out"
