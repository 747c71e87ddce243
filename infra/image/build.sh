#!/bin/sh
# Builds the image of all daemons with buildah, from programs that cargo has built:
#
#   cargo build --release && infra/image/build.sh [BINARIES [PACKAGES]]
#
# BINARIES is target/release by default; PACKAGES is a folder that fetch.sh has filled. Prints the id of the image, which
# the same input makes again.
set -eu

cd "$(dirname "$0")/../.."
binaries=${1:-target/release}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
infra/image/root.sh "$binaries" "$work/root" "${2:-}"
# The last stage of the Dockerfile takes these files for those of the stage `root`.
buildah build --quiet --timestamp "$SOURCE_DATE_EPOCH" --build-context "root=$work/root" \
  --file infra/image/Dockerfile --tag orders-pipeline "$work"
