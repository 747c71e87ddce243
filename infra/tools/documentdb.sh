#!/bin/sh
# Puts PostgreSQL with the DocumentDB extension into a folder of its own: the engine under FerretDB.
#
#   documentdb.sh DEST
#
# Debian packages it for newer releases than most machines run. So the packages are fetched with the machine's own apt
# (its mirror, its proxy, its keys) but private lists, and unpacked rather than installed: nothing outside DEST changes,
# no maintainer script runs, and nobody has to be root. The programs then run with the C library they were built for.
set -eu

dest=$1
package=postgresql-18-documentdb

fail() {
  echo "$1; install mongod, or set MONGO_URL to a server that runs" >&2
  exit 1
}

for tool in apt-get dpkg-deb tar; do
  command -v "$tool" >/dev/null || fail "$tool is missing, and $package is packaged for Debian only"
done

mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
  sed -n 's/^Debian|Debian|//p' | head -n 1)
# Before the first `apt-get update` a list has no origin yet: then the first Debian archive will do.
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
  grep -E '/debian/?$' | head -n 1) || true
[ -n "$mirror" ] || fail "apt knows no Debian archive to get $package from"

keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || fail "$keys is missing (package debian-archive-keyring)"

mkdir -p "$dest/apt/lists/partial" "$dest/apt/archives/partial"
: >"$dest/apt/status"

# A frozen mirror serves lists past their date; their signature is checked all the same.
private_apt() {
  apt-get -q -y \
    -o Dir::State="$dest/apt" -o Dir::State::lists="$dest/apt/lists" -o Dir::State::status="$dest/apt/status" \
    -o Dir::Cache="$dest/apt" \
    -o Dir::Etc::sourcelist="$dest/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Acquire::Retries=3 "$@"
}

for suite in forky unstable; do
  echo "deb [signed-by=$keys] $mirror $suite main" >"$dest/apt/sources.list"
  if private_apt update && private_apt install --download-only --no-install-recommends "$package"; then
    fetched=yes
    break
  fi
done
[ "${fetched:-}" ] || fail "could not fetch $package"

for deb in "$dest"/apt/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dest" --no-same-owner --wildcards \
    --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
    --exclude='./usr/share/i18n' --exclude='./usr/share/perl*' --exclude='./usr/lib/*/perl*'
done
rm -r "$dest/apt"

# What the packages' scripts would have chosen.
ln -s postgis-3.control "$dest/usr/share/postgresql/18/extension/postgis.control"

loader=$(echo "$dest"/usr/lib/*/ld-linux-*.so.*)
[ -x "$loader" ] || fail "$package came without a C library"
libs=$(basename "$(dirname "$loader")")
for program in postgres initdb psql pg_basebackup; do
  file=$dest/usr/lib/postgresql/18/bin/$program
  mv "$file" "$file.bin"
  cat >"$file" <<END
#!/bin/sh
bin=\$(dirname "\$(readlink -f "\$0")")
lib=\${bin%/postgresql/18/bin}/$libs
exec "\$lib/${loader##*/}" --library-path "\$lib:\$lib/blas:\$lib/lapack:\${bin%/bin}/lib" \\
  --argv0 "\$bin/$program" "\$bin/$program.bin" "\$@"
END
  chmod +x "$file"
done
