# Read by the scripts that build foreign programs; not run by itself.
#
# A foreign program takes minutes to build and changes only with its sources, its lock file and its
# toolchain. It is therefore kept outside of the tree, in a folder named by a digest of these three:
# a fresh clone on the same machine links to it, a new machine builds it once.
# WRAITH_PEER_CACHE names another place than $XDG_CACHE_HOME/wraith-interop.

peer_cache="${WRAITH_PEER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/wraith-interop}"
peer_bin="$PWD/interop-bin"
mkdir -p "$peer_cache/build" "$peer_bin"

# digest_of TOOLCHAIN [FOLDER]: what a build is remembered by. Build outputs are left out.
digest_of() {
  {
    uname -ms
    echo "$1"
    if [ -n "${2:-}" ]; then
      (cd "$2" && find . -type f ! -path '*/target/*' | LC_ALL=C sort | xargs sha256sum)
    fi
  } | sha256sum | cut -c1-24
}

# link_cached NAME DIGEST PROGRAM...: 0 and links in interop-bin/ if every program is kept already.
link_cached() {
  cached_folder="$peer_cache/$1-$2"
  shift 2
  for program in "$@"; do
    [ -e "$cached_folder/$program" ] || return 1
  done
  for program in "$@"; do
    rm -rf "${peer_bin:?}/$program"
    ln -s "$cached_folder/$program" "$peer_bin/$program"
  done
}

# keep NAME DIGEST FILE...: moves what was built into the cache in one step, then forgets all but
# the four newest builds of this name.
keep() {
  kept="$peer_cache/$1-$2"
  name="$1"
  shift 2
  fresh="$(mktemp -d "$peer_cache/fresh.XXXXXX")"
  chmod 755 "$fresh"
  cp -a "$@" "$fresh/"
  rm -rf "$kept"
  mv "$fresh" "$kept"
  ls -dt "$peer_cache/$name-"* | tail -n +5 | while read -r old; do rm -rf "$old"; done
}
