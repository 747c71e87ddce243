#!/bin/sh
# Fetches the packages of Debian that the image is made of into a folder, by the machine's own apt.
#
#   fetch.sh DEST
set -eu

cd "$1"
packages() {
  echo ca-certificates libc6 libgcc-s1 tzdata
  # The licence of libgcc-s1 is in a package of its own.
  apt-cache depends libgcc-s1 | grep -o 'gcc-[0-9]*-base'
}
# shellcheck disable=SC2046 # several names
apt-get -q download $(packages) || { apt-get -q update && apt-get -q download $(packages); }
