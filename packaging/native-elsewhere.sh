#!/bin/sh
# The wheel of the native part on macOS and Windows. Never built: neither can be had where the
# project is checked. Run it on such a machine, in a checkout, with cargo and a C compiler (on Windows
# in a shell of MSYS2 or Git, with the compiler of Visual Studio and NASM for AWS-LC).
#
#   sh packaging/native-elsewhere.sh            for this machine
#   sh packaging/native-elsewhere.sh --both     on macOS: one wheel for Intel and Apple silicon
#
# What must hold before such a wheel is given to anybody: `wraith doctor` says "native", and
# `python -m pytest tests/unit/hotpath tests/unit/native tests/property tests/e2e` passes there.
set -eu
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
target=""
if [ "${1:-}" = --both ]; then
  rustup target add x86_64-apple-darwin aarch64-apple-darwin
  target="--target universal2-apple-darwin"
fi
"$python" -m venv .build/elsewhere
for bin in .build/elsewhere/bin .build/elsewhere/Scripts; do
  [ ! -d "$bin" ] || tools="$PWD/$bin"
done
"$tools/python" -m pip install --quiet 'maturin>=1.16,<2'
MACOSX_DEPLOYMENT_TARGET="${MACOSX_DEPLOYMENT_TARGET:-11.0}"
export MACOSX_DEPLOYMENT_TARGET
# shellcheck disable=SC2086  # an option and its value
(cd native/py && "$tools/maturin" build --release --locked $target --out ../../dist)
