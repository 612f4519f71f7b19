#!/bin/sh
# Builds the foreign QUIC peers of the interoperability tests into interop-bin/ (not committed).
# A peer whose toolchain is missing is skipped with the reason; a peer whose sources have not changed
# is not built again. WRAITH_REQUIRE_INTEROP names peers that must be built (comma separated).
set -eu
cd "$(dirname "$0")/.."
bin="$PWD/interop-bin"
mkdir -p "$bin"
required=",${WRAITH_REQUIRE_INTEROP:-},"

say() { echo "wraith: interop: $*"; }

missing() { # peer, reason
  case "$required" in
    *",$1,"*) say "$1 is required but $2"; exit 1 ;;
    *) say "$1 skipped: $2" ;;
  esac
}

stamp_of() { # folder, toolchain version: one line that changes when sources or toolchain do
  { echo "$2"; find "$1" -type f ! -path '*/target/*' | LC_ALL=C sort | xargs cat; } | cksum
}

build_go() {
  if ! command -v go >/dev/null 2>&1; then
    missing go-libp2p "there is no Go toolchain"
    return
  fi
  stamp="$(stamp_of interop/go "$(go version)")"
  if [ -x "$bin/libp2p-peer" ] && [ "$stamp" = "$(cat "$bin/.go-stamp" 2>/dev/null || true)" ]; then
    say "go-libp2p and quic-go are up to date"
    return
  fi
  say "building go-libp2p and quic-go (about half a minute the first time)"
  if (cd interop/go && nice -n 10 go build -trimpath -o "$bin/" ./cmd/...); then
    echo "$stamp" >"$bin/.go-stamp"
  else
    missing go-libp2p "its build failed"
  fi
}

build_rust() {
  if ! command -v cargo >/dev/null 2>&1; then
    missing rust-libp2p "there is no cargo"
    return
  fi
  if [ ! -f interop/rust/Cargo.toml ]; then
    missing rust-libp2p "its sources are not here"
    return
  fi
  stamp="$(stamp_of interop/rust "$(cargo --version)")"
  if [ -x "$bin/rust-libp2p-peer" ] && [ "$stamp" = "$(cat "$bin/.rust-stamp" 2>/dev/null || true)" ]; then
    say "rust-libp2p is up to date"
    return
  fi
  if [ "${WRAITH_INTEROP_RUST:-1}" = 0 ]; then
    missing rust-libp2p "WRAITH_INTEROP_RUST=0"
    return
  fi
  say "building rust-libp2p (several minutes the first time)"
  if (cd interop/rust && CARGO_TARGET_DIR="$PWD/../../.build/interop-rust" nice -n 10 cargo build --release --locked --quiet) &&
    cp .build/interop-rust/release/rust-libp2p-peer "$bin/"; then
    echo "$stamp" >"$bin/.rust-stamp"
  else
    missing rust-libp2p "its build failed"
  fi
}

build_go
build_rust
