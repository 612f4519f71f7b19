#!/bin/sh
# Format, lints, tests and dependencies of the native part, where cargo is present.
set -eu
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${1:-$root/.venv/bin/python}"
if ! command -v cargo >/dev/null 2>&1; then
  echo "native part: not checked (cargo is not installed)"
  exit 0
fi
cd "$root/native"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/native/target}"
export CARGO_TARGET_DIR
if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; fi
if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
fi
# without the standard library and without C, as a microcontroller would take it
cargo check --quiet --locked -p wraith-core --no-default-features --features rustcrypto
cargo test --quiet --locked -p wraith-core -p wraith-lanes -p wraith-aws-lc --features wraith-core/rustcrypto
# the emulated link of the benchmarks: a workspace of its own, no part of the wheel
cd "$root/native/link"
CARGO_TARGET_DIR="$CARGO_TARGET_DIR/link"
if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; fi
if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --quiet --locked --all-targets -- -D warnings
fi
cargo test --quiet --locked
cd "$root"  # where a relative path to the interpreter holds
"$python" tools/check_rust_dependencies.py
