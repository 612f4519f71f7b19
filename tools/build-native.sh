#!/bin/sh
# Build and install the native part where a toolchain is present; else say so in one line.
# Usage: build-native.sh [python] [options of build_native.py]
set -eu
python="${1:-.venv/bin/python}"
[ "$#" -eq 0 ] || shift
exec "$python" "$(dirname "$0")/build_native.py" --python "$python" "$@"
