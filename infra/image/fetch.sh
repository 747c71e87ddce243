#!/bin/sh
# Fetches the packages of Debian that the image is made of into a folder, by the machine's own apt.
#
#   fetch.sh DEST
set -eu

cd "$1"
packages="ca-certificates libc6 libgcc-s1 tzdata"
# shellcheck disable=SC2086 # several names
apt-get -q download $packages || { apt-get -q update && apt-get -q download $packages; }
