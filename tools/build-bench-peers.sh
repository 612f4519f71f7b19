#!/bin/sh
# Builds the programs that the benchmarks compare with into interop-bin/, where their toolchains are
# present: quinn and quic-go (small programs under bench/peers), sendme, croc and magic-wormhole (as
# published). What is there already is kept; what cannot be built is named and left out.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p interop-bin
TARGET="$(pwd)/native/target/peers"

have() { [ -x "interop-bin/$1" ]; }
# A program of ours is built again when its source is newer.
current() { have "$1" && [ "interop-bin/$1" -nt "$2" ]; }
say() { echo "bench peers: $*"; }

if command -v cargo >/dev/null 2>&1; then
    if ! current quinn-bulk bench/peers/quinn/src/main.rs; then
        say "building quinn (about a minute)"
        (cd bench/peers/quinn && CARGO_TARGET_DIR="$TARGET" cargo build --release --locked --quiet) &&
            cp "$TARGET/release/quinn-bulk" interop-bin/ || say "quinn could not be built"
    fi
    if ! have sendme; then
        say "building sendme (several minutes, once)"
        cargo install --quiet --locked --root "$TARGET/install" --target-dir "$TARGET" sendme &&
            cp "$TARGET/install/bin/sendme" interop-bin/ || say "sendme could not be built"
    fi
else
    say "no cargo: quinn and sendme are left out"
fi

if command -v go >/dev/null 2>&1; then
    if ! current quicgo-bulk bench/peers/quicgo/main.go; then
        (cd bench/peers/quicgo && go build -o ../../../interop-bin/quicgo-bulk .) ||
            say "quic-go could not be built"
    fi
    if ! have croc; then
        GOBIN="$(pwd)/interop-bin" go install github.com/schollz/croc/v10@latest ||
            say "croc could not be built"
    fi
else
    say "no Go: quic-go and croc are left out"
fi

# magic-wormhole with its two servers, in a virtual environment of its own.
if ! have wormhole/bin/wormhole; then
    python3 -m venv interop-bin/wormhole &&
        interop-bin/wormhole/bin/pip install --quiet --disable-pip-version-check \
            magic-wormhole magic-wormhole-mailbox-server magic-wormhole-transit-relay ||
        { say "magic-wormhole could not be installed"; rm -rf interop-bin/wormhole; }
fi
