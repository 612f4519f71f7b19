#!/bin/sh
# Known vulnerabilities of what the package, its tools and the native part are made from: pip-audit
# over requirements/dev.txt, cargo-audit over native/Cargo.lock. Both need data from the network. What
# could not be asked is printed as NOT CHECKED and counted; nothing here says "ok" without data.
# pip-audit comes from requirements/tools.txt, with hashes, into an environment of its own.
set -u
cd "$(dirname "$0")/.."
python="${1:-.venv/bin/python}"
tools=.build/tools
if ! cmp -s requirements/tools.txt "$tools/installed.txt"; then
  rm -rf "$tools"
  "$python" -m venv "$tools" &&
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      -r requirements/tools.txt &&
    cp requirements/tools.txt "$tools/installed.txt" ||
    rm -rf "$tools"
fi
"$python" tools/check_advisories.py --pip-audit "$tools/bin/pip-audit"
