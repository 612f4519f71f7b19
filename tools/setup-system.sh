#!/bin/sh
# Installs the programs of the operating system that tests and benchmarks run, where it may: as root, on
# a system with apt. Elsewhere it names what is missing, with the package that has it, and exits 0:
# the tests that need it say so again. What carriers need has a script of its own, which runs first.
set -u
sh "$(dirname "$0")/setup-carriers.sh"

packages=""
need() { # program, Debian's package
  command -v "$1" >/dev/null 2>&1 || PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 ||
    packages="$packages $2"
}
need strace strace         # stops a transfer at every system call
need ip iproute2           # network namespaces and queues
need nft nftables          # counts and filters between namespaces
need git git               # the checks list what is committed
if [ "${1:-}" = --bench ]; then
  need ethtool ethtool     # offloads on and off
  need sshd openssh-server # scp and rsync
  need ssh openssh-client
  need rsync rsync
  need mkfs.ext4 e2fsprogs # a fresh file system for small files
fi
if [ "${1:-}" = --dist ]; then
  need debootstrap debootstrap # empty systems to install into
  need ruby ruby               # reads the formula
  need nix-instantiate nix-bin # reads the Nix expression
  need readelf binutils        # what a wheel was linked with
  need qemu-aarch64-static qemu-user-static # runs the wheel for aarch64
fi

[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "system: installing$packages"
  # shellcheck disable=SC2086  # a list of words
  if apt-get update -qq >/dev/null 2>&1 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null; then
    exit 0
  fi
  echo "system: the installation failed"
fi
echo "system: not there, and what needs it will say so:$packages"
