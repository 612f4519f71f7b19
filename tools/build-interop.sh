#!/bin/sh
# Builds the foreign QUIC and MLS peers of the interoperability tests and links them into interop-bin/ (not
# committed). tools/peer-cache.sh keeps what was built, outside of the tree. A peer whose toolchain is
# missing is skipped with the reason. WRAITH_REQUIRE_INTEROP names peers that must be there (comma
# separated): without one of them this exits 1, after it has built the others.
set -eu
cd "$(dirname "$0")/.."
. tools/peer-cache.sh
required=",${WRAITH_REQUIRE_INTEROP:-},"
status=0

say() { echo "wraith: interop: $*"; }

missing() { # peer, reason
  case "$required" in
    *",$1,"*) say "$1 is required but $2"; status=1 ;;
    *) say "$1 skipped: $2" ;;
  esac
}

build_go() {
  if ! command -v go >/dev/null 2>&1; then
    missing go-libp2p "there is no Go toolchain"
    return
  fi
  programs="kex-check libp2p-peer quic-peer"
  digest="$(digest_of "$(go version)" interop/go)"
  if link_cached interop-go "$digest" $programs; then
    say "go-libp2p and quic-go are built already"
    return
  fi
  say "building go-libp2p and quic-go (about half a minute the first time)"
  built="$peer_cache/build/interop-go"
  mkdir -p "$built"
  if (cd interop/go && nice -n 10 go build -trimpath -o "$built/" ./cmd/...); then
    (cd "$built" && keep interop-go "$digest" $programs)
    link_cached interop-go "$digest" $programs
  else
    missing go-libp2p "its build failed"
  fi
}

build_rust() {
  if ! command -v cargo >/dev/null 2>&1; then
    missing rust-libp2p "there is no cargo"
    return
  fi
  digest="$(digest_of "$(cargo --version)" interop/rust)"
  if link_cached interop-rust "$digest" rust-libp2p-peer; then
    say "rust-libp2p is built already"
    return
  fi
  if [ "${WRAITH_INTEROP_RUST:-1}" = 0 ]; then
    missing rust-libp2p "WRAITH_INTEROP_RUST=0"
    return
  fi
  say "building rust-libp2p (several minutes the first time)"
  built="$peer_cache/build/interop-rust"
  if (cd interop/rust && CARGO_TARGET_DIR="$built" nice -n 10 cargo build --release --locked --quiet); then
    keep interop-rust "$digest" "$built/release/rust-libp2p-peer"
    link_cached interop-rust "$digest" rust-libp2p-peer
  else
    missing rust-libp2p "its build failed"
  fi
}

build_mls() {
  if ! command -v cargo >/dev/null 2>&1; then
    missing openmls "there is no cargo"
    missing mls-rs "there is no cargo"
    return
  fi
  digest="$(digest_of "$(cargo --version)" interop/mls)"
  if link_cached interop-mls "$digest" openmls-peer mls-rs-peer; then
    say "openmls and mls-rs are built already"
    return
  fi
  if [ "${WRAITH_INTEROP_RUST:-1}" = 0 ]; then
    missing openmls "WRAITH_INTEROP_RUST=0"
    missing mls-rs "WRAITH_INTEROP_RUST=0"
    return
  fi
  say "building openmls and mls-rs (several minutes the first time)"
  built="$peer_cache/build/interop-mls"
  if (cd interop/mls && CARGO_TARGET_DIR="$built" nice -n 10 cargo build --release --locked --quiet); then
    keep interop-mls "$digest" "$built/release/openmls-peer" "$built/release/mls-rs-peer"
    link_cached interop-mls "$digest" openmls-peer mls-rs-peer
  else
    missing openmls "its build failed"
    missing mls-rs "its build failed"
  fi
}

build_go
build_rust
build_mls
exit "$status"
