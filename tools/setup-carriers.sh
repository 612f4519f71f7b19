#!/bin/sh
# Installs the servers and proxies that tests of carriers run, where it may: as root or with a sudo that
# asks nothing, on a system with apt. Elsewhere it names what is missing, with the package that has it,
# and exits 0: the tests that need it say so again. Called by tools/setup-system.sh.
#
# Tests start these programs themselves, on ports of their own. A service that comes with a package is
# not started here.
set -u

packages=""
need() { # program, Debian's package
  PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need nginx nginx              # TLS in front of WebSocket
need microsocks microsocks    # a SOCKS 5 proxy
need tinyproxy tinyproxy-bin  # an HTTP proxy
need ip iproute2              # network namespaces
need nft nftables             # blocks and counts between them
need conntrack conntrack      # forgets what a NAT knows

[ -n "$packages" ] || exit 0
as_root=""
if [ "$(id -u)" != 0 ]; then
  as_root="sudo -n"
fi
if command -v apt-get >/dev/null 2>&1 && $as_root true >/dev/null 2>&1; then
  echo "carriers: installing$packages"
  # What a package would start asks this file first; 101 means no. A file that is there stays as it is.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086  # a list of words
  if $as_root apt-get update -qq >/dev/null 2>&1 &&
    $as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $packages >/dev/null; then
    exit 0
  fi
  echo "carriers: the installation failed"
fi
echo "carriers: not there, and what needs it will say so:$packages"
