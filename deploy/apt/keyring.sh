# The package hearthlink-archive-keyring; read by `publish.sh`.
# shellcheck shell=bash disable=SC2154 # $here and refuse are publish.sh's

# WORK URL KEY [KEY…]: prints the path of the package. The same keys, URL and changelog give the same file.
build_keyring() {
    local work=$1 url=$2 name=hearthlink-archive-keyring
    shift 2
    local root=$work/$name version doc=usr/share/doc/hearthlink-archive-keyring
    version=$(dpkg-parsechangelog -l "$here/keyring/changelog" -S Version)
    SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$here/keyring/changelog" -S Timestamp)
    export SOURCE_DATE_EPOCH

    install -d -m 755 "$root"/{DEBIAN,usr/share/keyrings,etc/apt/sources.list.d,usr/share/lintian/overrides,"$doc"/examples}
    gpg --batch --export-options export-minimal --export "$@" > "$root/usr/share/keyrings/$name.gpg"
    [ -s "$root/usr/share/keyrings/$name.gpg" ] || refuse "GnuPG does not know $*"
    sed "s|@URL@|$url|" "$here/keyring/hearthlink.sources" > "$root/etc/apt/sources.list.d/hearthlink.sources"
    echo /etc/apt/sources.list.d/hearthlink.sources > "$root/DEBIAN/conffiles"
    sed "s|@VERSION@|$version|" "$here/keyring/control" > "$root/DEBIAN/control"
    cp "$here/keyring/copyright" "$root/$doc/copyright"
    gzip -9n < "$here/keyring/changelog" > "$root/$doc/changelog.gz"
    cp "$here/keyring/52hearthlink-unattended-upgrades" "$root/$doc/examples/"
    cp "$here/keyring/lintian-overrides" "$root/usr/share/lintian/overrides/$name"
    (cd "$root" && find etc usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2 > DEBIAN/md5sums)
    chmod -R u=rwX,go=rX "$root"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$work/${name}_${version}_all.deb" > /dev/null
    echo "$work/${name}_${version}_all.deb"
}
