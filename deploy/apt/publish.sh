#!/usr/bin/env bash
# Makes the signed apt repository, or adds to it.
#
#     deploy/apt/publish.sh --make-key                          once: a key for signing, into your GnuPG
#     deploy/apt/publish.sh --key FINGERPRINT [PACKAGE.deb…]    without a package: all of target/packages
#
#     --repository DIR        where it lies: DIR is what a web server shows, as it is     target/apt
#     --url URL               where people find it; goes into the keyring's package       https://apt.hearthlink.invalid
#     --trust FINGERPRINT     a key that homes are to trust beside it, before it signs (README.md: a new key); repeatable
#
# Needs Debian's aptly, gpg and dpkg-deb. DIR is all there is to keep: aptly's own memory is made from DIR/pool at each run,
# so that a copy of the web server's files is enough on any machine. Run again with the same packages, it changes nothing
# but the date. A version that is there is never replaced by other content, and older ones stay, to go back to.
#
# aptly, because reprepro (5.3, bookworm's) keeps one version of a package, and going back by apt would not work; and
# apt-ftparchive would have us write the rest of it. No Valid-Until: a gateway whose publisher is on holiday must still be
# able to install; against somebody who shows an old state for ever, see README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
architectures="amd64 arm64 armhf"
suite=stable

refuse() {
    echo "publish: $*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2
    exit 2
}

repository=$source/target/apt
url=https://apt.hearthlink.invalid
key=
make_key=
trusted=()
packages=()
while [ $# -gt 0 ]; do
    case $1 in
    --make-key) make_key=yes ;;
    --repository | --url | --key | --trust)
        [ $# -ge 2 ] || usage
        case $1 in
        --repository) repository=$2 ;;
        --url) url=${2%/} ;;
        --key) key=$2 ;;
        --trust) trusted+=("$2") ;;
        esac
        shift
        ;;
    -*) usage ;;
    *) packages+=("$1") ;;
    esac
    shift
done
[ -n "$make_key" ] || [ -n "$key" ] || usage
[ -z "$make_key" ] || [ -z "$key" ] || refuse "--make-key makes another key: not together with --key"

for program in gpg aptly dpkg-deb; do
    command -v $program > /dev/null || refuse "$program is missing: apt install aptly gnupg dpkg"
done
mkdir -p "$repository"
repository=$(realpath "$repository")

# Whoever has the secret key can send any program to every home: it must not lie where files are shown or committed.
secrets=$(realpath -m "${GNUPGHOME:-$HOME/.gnupg}")
case $secrets/ in
"$repository"/*) refuse "the key would lie in the repository that everybody can read: set GNUPGHOME to another folder" ;;
"$source"/*) [ -n "${secrets##"$source"/target/*}" ] &&
    refuse "the key would lie in the source: set GNUPGHOME to another folder" ;;
esac

if [ -n "$make_key" ]; then
    # Without an end: a repository whose key ends by itself locks its homes out. It is changed as README.md says.
    # --yes: there may be an older one of this name.
    key=$(gpg --batch --yes --status-fd 1 --passphrase '' \
        --quick-generate-key "Hearthlink archive signing key" ed25519 sign never 2> /dev/null |
        awk '$2 == "KEY_CREATED" { print $4 }')
    [ -n "$key" ] || refuse "gpg makes no key in $secrets"
    echo "the key: $key"
    echo "It lies in $secrets and has no passphrase; README.md says how it gets one, and where it should lie."
fi
gpg --batch --list-secret-keys "$key" > /dev/null 2>&1 || refuse "there is no secret key $key in $secrets"

if [ ${#packages[@]} -eq 0 ]; then
    shopt -s nullglob
    packages=("$source"/target/packages/*.deb)
    shopt -u nullglob
    if [ ${#packages[@]} -eq 0 ]; then
        [ -n "$make_key" ] && exit 0
        refuse "no package is named and target/packages has none: deploy/build.sh"
    fi
fi
for package in "${packages[@]}"; do
    name=$(dpkg-deb -f "$package" Package) || refuse "$package is no package"
    architecture=$(dpkg-deb -f "$package" Architecture)
    [[ $name == hearthlink* ]] || refuse "$package is $name, not ours"
    [[ " $architectures all " == *" $architecture "* ]] || refuse "$package is for $architecture; there are $architectures"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck source=keyring.sh
. "$here/keyring.sh"
keyring=$(build_keyring "$work" "$url" "$key" ${trusted[@]+"${trusted[@]}"})

cat > "$work/aptly.json" << JSON
{
  "rootDir": "$work/aptly",
  "gpgProvider": "gpg",
  "FileSystemPublishEndpoints": { "site": { "rootDir": "$repository", "linkMethod": "copy", "verifyMethod": "md5" } }
}
JSON
aptly() {
    command aptly -config="$work/aptly.json" "$@" > "$work/said" 2>&1 || {
        cat "$work/said" >&2
        return 1
    }
}

aptly repo create -component=main -distribution=$suite hearthlink
# Whether the files of pool/ are those that were signed: the folder comes from a web server, and what somebody has put there is
# not to be signed by this run. Signature, then the lists that it is of, then each package.
judge_pool() (
    gpg --batch --quiet --yes --output "$work/Release" --status-fd 3 --decrypt "$repository/dists/$suite/InRelease" \
        3> "$work/status" 2> /dev/null || return 1
    signer=$(awk '$2 == "VALIDSIG" { print $NF }' "$work/status")
    known=no
    for fingerprint in "$key" ${trusted[@]+"${trusted[@]}"}; do
        gpg --batch --with-colons --list-keys "$fingerprint" 2> /dev/null | grep -q "^fpr:.*:$signer:" && known=yes
    done
    [ -n "$signer" ] && [ $known = yes ] || return 1
    cd "$repository/dists/$suite"
    awk '/^SHA256:/ { on = 1; next } /^[^ ]/ { on = 0 } on && $3 ~ /binary-[a-z0-9]*\/Packages$/ { print $1 "  " $3 }' \
        "$work/Release" > "$work/lists"
    [ -s "$work/lists" ] && sha256sum --check --status "$work/lists" || return 1
    cut -d ' ' -f 3 "$work/lists" | xargs cat | sed -n 's/^SHA256: //p' | sort -u > "$work/signed"
    find "$repository/pool" -type f -exec sha256sum {} + | cut -d ' ' -f 1 | sort -u | comm -23 - "$work/signed" > "$work/foreign"
    [ ! -s "$work/foreign" ]
)

# What was published; then what comes, which must not be another content under the same version.
if [ -d "$repository/pool" ]; then
    judge_pool || refuse "$repository/pool is not what was signed with $key (another key that did: --trust): compare it with a copy of your own"
    aptly repo add hearthlink "$repository/pool"
fi
aptly repo add hearthlink "${packages[@]}" "$keyring" ||
    refuse "a version that is published is never replaced: raise the one in deploy/deb/changelog, or deploy/apt/keyring/changelog"
aptly publish repo -batch -gpg-key="$key" -architectures="${architectures// /,}" -acquire-by-hash -skip-bz2 \
    -origin=Hearthlink -label=Hearthlink -suite=$suite -distribution=$suite hearthlink filesystem:site:.

# For the first time, when apt does not know us yet.
install -m 644 "$keyring" "$repository/hearthlink-archive-keyring.deb"
gpg --batch --armor --export-options export-minimal --export "$key" > "$repository/hearthlink-archive-keyring.asc"

echo "published in $repository, signed by $(gpg --batch --with-colons --list-keys "$key" | awk -F: '$1 == "fpr" { print $10; exit }'):"
awk '/^Package:/ { p = $2 } /^Version:/ { v = $2 } /^Architecture:/ { a = $2 } /^$/ { print "  " p " " v " " a }' \
    "$repository"/dists/$suite/main/binary-*/Packages | sort -uV
