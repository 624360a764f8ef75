# What can be said of the package without installing it; the newer version and the repository for the trials. Read by `run`.
# shellcheck shell=bash disable=SC2154 # $package, $work, $repository are run's; part and claim claims.sh's

part "the package itself: $(basename "$package"), $(stat -c %s "$package") bytes, $(dpkg-deb -f "$package" Installed-Size) KiB installed"
version=$(dpkg-deb -f "$package" Version)
mkdir -p "$work/unpacked"
dpkg-deb -R "$package" "$work/unpacked"
binary=$work/unpacked/usr/bin/hearthlink

changelog_and_cargo_agree() {
    local cargo debian
    cargo=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml")
    debian=$(dpkg-parsechangelog -l "$repository/deploy/deb/changelog" -S Version)
    same "$debian" "$version" && same "${debian%-*}" "$cargo"
}
# What Depends promises is at least what the program asks for, and not more than bookworm's 2.36.
depends_has_the_libc() {
    local needed promised
    needed=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 | sed 's/GLIBC_//')
    promised=$(dpkg-deb -f "$package" Depends | sed -n 's/.*libc6 (>= \([0-9.]*\)).*/\1/p')
    echo "the program asks for $needed, Depends for $promised"
    dpkg --compare-versions "$needed" le "$promised" && dpkg --compare-versions "$promised" le 2.36
}
# Every library that it is linked to belongs to a package of Depends.
libraries_are_in_depends() {
    local library
    while read -r library; do
        case $library in
        # Of libc6, the last two for the names that programs of before glibc 2.34 know.
        libc.so.6 | libm.so.6 | ld-linux-* | libpthread.so.0 | libdl.so.2) ;;
        libgcc_s.so.1) says libgcc-s1 dpkg-deb -f "$package" Depends || return 1 ;;
        *) echo "$library"; return 1 ;;
        esac
    done < <(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }')
}
is_small() { [ "$(stat -c %s "$package")" -le $((8 << 20)) ] && [ "$(dpkg-deb -f "$package" Installed-Size)" -le $((21 << 10)) ]; }
no_demonstration() { not "$binary" demo --once; }

claim "lintian: no error, no warning" lintian --allow-root --fail-on error,warning "$package"
claim "it is at most 8 MiB, and 21 MiB when it is installed" is_small
claim "its version is the changelog's and Cargo.toml's" changelog_and_cargo_agree
claim "Depends has a libc that is new enough for the program, and is in bookworm" depends_has_the_libc
claim "and every other library" libraries_are_in_depends
claim "the demonstration is not in it" no_demonstration
# Every home has changed it, so a package with another one makes dpkg ask, and unattended-upgrades leaves such a package alone
# for ever. Whoever has a reason that is worth that puts the new sum here.
claim "its conffile is the one of the first version" same "$(sha256sum < "$work/unpacked/etc/hearthlink/config.yaml" | cut -d' ' -f1)" \
    6ada2d61e3a773f53a7221617fa76b441a5d75da79142f3a8247b01f7c406bfa
claim "nobody else reads the configuration, from the moment of unpacking" \
    same "$(stat -c %a "$work/unpacked/etc/hearthlink/config.yaml")" 640

# make_version VERSION: the same program as another version, $made.
make_version() {
    sed -i "s/^Version: .*/Version: $1/" "$work/unpacked/DEBIAN/control"
    made=$work/made/hearthlink_$1_amd64.deb
    mkdir -p "$work/made"
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$work/unpacked" "$made" > "$work/said"
}

part "the repository, by deploy/apt/publish.sh"
export GNUPGHOME=$work/gnupg
mkdir -m 700 "$GNUPGHOME"
"$repository/deploy/apt/publish.sh" --make-key --repository "$work/apt" --url file:/srv/repository "$package" > "$work/published" 2>&1
key=$(sed -n 's/^the key: //p' "$work/published")
publish() { "$repository/deploy/apt/publish.sh" --key "$key" --repository "$work/apt" --url file:/srv/repository "$@"; }
indices() { sed -n '/^SHA256:/,$p' "$work/apt/dists/stable/Release"; }

published=$(indices)
claim "published again it is the same" publish "$package"
claim "with the same indices" same "$(indices)" "$published"
# Another content under a version that homes may have.
make_version "$version"
claim "a published version is not replaced" not publish "$made"
claim "and is what it was" same "$(indices)" "$published"
# As whoever has the web server might want it signed.
cp "$made" "$work/apt/pool/"
claim "a package that somebody has put beside the signed ones is not signed" says "is not what was signed" not publish "$package"
rm "$work/apt/pool/${made##*/}"
claim "and without it all is as it was" publish "$package"
GNUPGHOME=$work/apt/gnupg claim "a key inside of what everybody can read is refused" not "$repository/deploy/apt/publish.sh" \
    --make-key --repository "$work/apt"
claim "lintian: no error, no warning in the keyring's package" \
    lintian --allow-root --fail-on error,warning "$work/apt/hearthlink-archive-keyring.deb"
claim "no secret key is in it" not grep -rlE 'PRIVATE KEY' "$work/apt"
claim "another key can be made beside the first" "$repository/deploy/apt/publish.sh" \
    --make-key --repository "$work/second" "$package"

# What somebody on the way would make of it: another program under the signed name.
cp -a "$work/apt" "$work/forged"
sed -i 's/^Suite: stable/Suite: stable\nButAutomaticUpgrades: yes/' "$work/forged/dists/stable/InRelease"
