#!/bin/sh
# Makes the Debian package from programs that are built already: infra/deb/build.sh target/release orders-pipeline.deb
#
# Plain dpkg-deb, because cargo-deb packages one crate and would have to be built first.
set -eu
umask 022
programs=$1 package=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# dpkg-shlibdeps wants a source package around it.
tree=$work/debian/orders-pipeline
install -d "$tree/DEBIAN"
touch "$work/debian/control"

# The same programs and commit make the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

install -D --strip -t "$tree/usr/lib/orders-pipeline" \
    "$programs/edge" "$programs/writer" "$programs/projector" "$programs/payment-simulator" \
    "$programs/realtime" "$programs/web"
install -D --strip -t "$tree/usr/bin" "$programs/orderctl"

units=$tree/usr/lib/systemd/system
install -D -m 644 -t "$units" "$root"/infra/systemd/*.service "$root"/infra/systemd/*.socket "$root"/infra/systemd/*.target
install -D -m 644 -t "$units/orders-@.service.d" "$root"/infra/systemd/orders-@.service.d/*
install -D -m 644 -t "$tree/etc/orders-pipeline" "$root/infra/systemd/orders.env"

# The pages lie beside each other here, and what they show from infra in examples. A link to what only the source has
# becomes plain text.
docs=$tree/usr/share/doc/orders-pipeline
install -D -m 644 -t "$docs" "$root/infra/deb/copyright" "$root"/README.md "$root"/SECURITY.md "$root"/CHANGELOG.md \
    "$root"/docs/*.md "$root/schemas/settings.md" "$root/schemas/metrics.md"
sed -E -z -i \
    -e 's#\n(!\[|<img )[^\n]*##g' \
    -e 's#\]\((\.\./)?(docs/|schemas/)?([A-Za-z]+\.md)#](\3#g' \
    -e 's#\]\(\.\./infra/(grafana|mongo|nats|prometheus)/#](examples/#g' \
    -e 's#\[([^]]*)\]\((\.\./|infra/|services/|tests/|ARCHITECTURE|CONTRIBUTING|LICENSE)[^)]*\)#\1#g' \
    "$docs"/*.md
install -d "$docs/examples"
cp -R --no-preserve=mode "$root/infra/systemd/secrets" "$docs/examples/secrets"
install -D -m 644 -t "$docs/examples" "$root"/infra/prometheus/orders.rules.yml "$root"/infra/prometheus/prometheus.yml \
    "$root"/infra/grafana/orders.json "$root"/infra/mongo/*.js "$root"/infra/nats/*.conf
install -D -m 644 "$root/infra/deb/lintian-overrides" "$tree/usr/share/lintian/overrides/orders-pipeline"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
maintainer=$(sed -n 's/^Maintainer: //p' "$root/infra/deb/control")
gzip -9n > "$docs/changelog.gz" <<END
orders-pipeline ($version) unstable; urgency=medium

  * What is new is in CHANGELOG.md of the source.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END

libraries=$(cd "$work" && dpkg-shlibdeps -O "$tree"/usr/lib/orders-pipeline/* "$tree/usr/bin/orderctl")

install -m 755 -t "$tree/DEBIAN" "$root/infra/deb/postinst" "$root/infra/deb/prerm" "$root/infra/deb/postrm"
echo /etc/orders-pipeline/orders.env > "$tree/DEBIAN/conffiles"
(cd "$tree" && find usr -type f -exec md5sum {} + > DEBIAN/md5sums)
{
    sed "/^Description:/,\$d" "$root/infra/deb/control"
    echo "Version: $version"
    echo "Architecture: $(dpkg --print-architecture)"
    echo "Installed-Size: $(du -sk "$tree" | cut -f 1)"
    echo "Depends: ${libraries#shlibs:Depends=}"
    sed -n "/^Description:/,\$p" "$root/infra/deb/control"
} > "$tree/DEBIAN/control"

dpkg-deb --root-owner-group --build "$tree" "$package"
