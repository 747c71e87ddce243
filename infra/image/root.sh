#!/bin/sh
# Makes the files of the image: the daemons and orderctl without symbols, and what of Debian they need.
#
#   root.sh BINARIES DEST [PACKAGES]
#
# BINARIES is the folder with the programs, built on the release of Debian that runs this; PACKAGES one that fetch.sh has
# filled. The packages are unpacked rather than installed, so no shell and no package manager comes with them. The same
# input makes the same files, dated SOURCE_DATE_EPOCH.
set -eu
umask 022

here=$(dirname "$0")
binaries=$1
dest=$2
packages=${3:-}
if [ -z "$packages" ]; then
  packages=$(mktemp -d)
  trap 'rm -r "$packages"' EXIT
  "$here/fetch.sh" "$packages" >&2
fi

mkdir -p "$dest/etc/ssl/certs" "$dest/usr/lib" "$dest/usr/lib64" "$dest/usr/local/bin" "$dest/var/lib/dpkg/status.d"
ln -s usr/lib "$dest/lib"
ln -s usr/lib64 "$dest/lib64"
for package in "$packages"/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$dest" --keep-directory-symlink --wildcards \
    --exclude='./usr/share/doc/*/[!c]*' --exclude='./usr/share/doc/*/changelog*' --exclude='./usr/share/lintian' \
    --exclude='./usr/share/man' --exclude='./usr/sbin' --exclude='./etc/ca-certificates' --exclude='*/gconv' \
    --exclude='./usr/share/zoneinfo/posix' --exclude='./usr/share/zoneinfo/right'
  # By this, scanners know what is in the image.
  dpkg-deb --field "$package" >"$dest/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
done
cp /etc/os-release "$dest/etc/os-release"

# What the packages' scripts would have made.
authorities=$dest/usr/share/ca-certificates
cat "$authorities"/mozilla/*.crt >"$dest/etc/ssl/certs/ca-certificates.crt"
rm -r "$authorities"
echo 'hosts: files dns' >"$dest/etc/nsswitch.conf"
echo 'orders:x:65532:65532::/:/' >"$dest/etc/passwd"
echo 'orders:x:65532:' >"$dest/etc/group"

for program in $(cut -d: -f1 "$here/../../Procfile") orderctl; do
  strip -o "$dest/usr/local/bin/$program" "$binaries/$program"
done
find "$dest" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
