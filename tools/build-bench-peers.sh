#!/bin/sh
# Builds the programs that the benchmarks compare with and links them into interop-bin/, where their
# toolchains are present: quinn and quic-go (small programs under bench/peers), sendme, croc and
# magic-wormhole (as published, the versions below). tools/peer-cache.sh keeps what was built; what
# cannot be built is named and left out. With names as arguments, only these.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/peer-cache.sh

SENDME=0.37.1
CROC=v10.7.0

say() { echo "bench peers: $*"; }
wanted="${*:-quinn sendme quic-go croc wormhole}"
wants() { case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac }

if ! command -v cargo >/dev/null 2>&1; then
  say "no cargo: quinn and sendme are left out"
else
  rust="$(cargo --version)"
  target="$peer_cache/build/bench-rust"
  digest="$(digest_of "$rust" bench/peers/quinn)"
  if wants quinn && ! link_cached quinn "$digest" quinn-bulk; then
    say "building quinn (several minutes, once)"
    (cd bench/peers/quinn && CARGO_TARGET_DIR="$target" nice -n 10 cargo build --release --locked --quiet) &&
      keep quinn "$digest" "$target/release/quinn-bulk" && link_cached quinn "$digest" quinn-bulk ||
      say "quinn could not be built"
  fi
  digest="$(digest_of "$rust $SENDME")"
  if wants sendme && ! link_cached sendme "$digest" sendme; then
    say "building sendme $SENDME (several minutes, once)"
    nice -n 10 cargo install --quiet --locked --root "$target/install" --target-dir "$target" \
      "sendme@$SENDME" &&
      keep sendme "$digest" "$target/install/bin/sendme" && link_cached sendme "$digest" sendme ||
      say "sendme could not be built"
  fi
fi

if ! command -v go >/dev/null 2>&1; then
  say "no Go: quic-go and croc are left out"
else
  go="$(go version)"
  mkdir -p "$peer_cache/build/bench-go"
  digest="$(digest_of "$go" bench/peers/quicgo)"
  if wants quic-go && ! link_cached quicgo "$digest" quicgo-bulk; then
    (cd bench/peers/quicgo && nice -n 10 go build -trimpath -o "$peer_cache/build/bench-go/quicgo-bulk" .) &&
      keep quicgo "$digest" "$peer_cache/build/bench-go/quicgo-bulk" &&
      link_cached quicgo "$digest" quicgo-bulk ||
      say "quic-go could not be built"
  fi
  digest="$(digest_of "$go $CROC")"
  if wants croc && ! link_cached croc "$digest" croc; then
    GOBIN="$peer_cache/build/bench-go" nice -n 10 go install "github.com/schollz/croc/v10@$CROC" &&
      keep croc "$digest" "$peer_cache/build/bench-go/croc" && link_cached croc "$digest" croc ||
      say "croc could not be built"
  fi
fi

# magic-wormhole with its two servers. A virtual environment cannot be moved: it is made where it stays.
if wants wormhole; then
  digest="$(digest_of "$(python3 --version) $(cat requirements/wormhole.txt)")"
  if ! link_cached wormhole "$digest" wormhole; then
    folder="$peer_cache/wormhole-$digest"
    rm -rf "$folder"
    python3 -m venv "$folder/building" &&
      "$folder/building/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r requirements/wormhole.txt &&
      ln -s building "$folder/wormhole" && link_cached wormhole "$digest" wormhole ||
      { say "magic-wormhole could not be installed"; rm -rf "$folder"; }
  fi
fi
