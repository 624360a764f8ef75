#!/usr/bin/env bash
# From a tag to a signed repository. .github/workflows/release.yml does the same by calling this.
#
#     deploy/release.sh --dry-run TAG            what is wrong with the tree, and what would be done; changes nothing
#     deploy/release.sh --key FINGERPRINT TAG    does it; TAG is v0.1.0
#
#     --url URL            where people find the repository; goes into the keyring's package
#     --repository DIR     where it lies, older versions included     target/apt
#     --upload TARGET      afterwards, there by rsync: `user@host:/srv/apt` or a folder
#
# The key is in GnuPG (GNUPGHOME). Nothing is pushed, and nothing is shown to anybody before the last step: what goes wrong
# before it can be mended and begun anew. docs/releasing.md says what comes before and after. Root on Debian 12 with rustup,
# since the steps install what they need; a network, for the advisories. An hour on two cores.
#
# A script and no justfile: Debian 12 has no `just`.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

usage() {
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

is_dry=
key=
url=
repository=target/apt
upload=
tag=
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) is_dry=yes ;;
    --key | --url | --repository | --upload)
        [ $# -ge 2 ] || usage
        case $1 in
        --key) key=$2 ;;
        --url) url=$2 ;;
        --repository) repository=$2 ;;
        --upload) upload=$2 ;;
        esac
        shift
        ;;
    -*) usage ;;
    *)
        [ -z "$tag" ] || usage
        tag=$1
        ;;
    esac
    shift
done
[ -n "$tag" ] || usage
[ -n "$is_dry$key" ] || usage

number=0
step() {
    number=$((number + 1))
    printf '\n=== %d. %s\n' $number "$1"
}

# Does it, or says what would be done.
run() {
    if [ -n "$is_dry" ]; then
        printf 'would run: %s\n' "$*"
    else
        "$@"
    fi
}

faults=0
fault() {
    printf 'WRONG: %s\n' "$*" >&2
    faults=$((faults + 1))
}

step "programs from Debian"
missing=()
for package in aptly git gnupg rsync; do
    dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    run apt-get update -q
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

step "the tree is what the tag says"
version=${tag#v}
[[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || fault "$tag is no tag of a release: v1.2.3"
[ -z "$(git status --porcelain)" ] || fault "the tree has changes that no commit has"
if tagged=$(git rev-parse --quiet --verify "refs/tags/$tag^{commit}"); then
    [ "$tagged" = "$(git rev-parse HEAD)" ] || fault "$tag is another commit than the one checked out"
    [ "$(git cat-file -t "refs/tags/$tag")" = tag ] || fault "$tag has no message and no author: git tag --sign $tag"
elif [ -z "$is_dry" ]; then
    fault "there is no tag $tag: git tag --sign $tag"
fi
manifest=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ "$manifest" = "$version" ] || fault "Cargo.toml has version $manifest"
locked=$(grep -A1 '^name = "hearthlink"$' Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')
[ "$locked" = "$version" ] || fault "Cargo.lock has version $locked"
heading=$(grep -m 1 '^## \[[0-9]' CHANGELOG.md || true)
[[ $heading =~ ^"## [$version] - "[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
    fault "the first version in CHANGELOG.md is not \`## [$version] - YYYY-MM-DD\` but \`$heading\`"
unreleased=$(sed -n '/^## \[Unreleased\]/,/^## \[[0-9]/p' CHANGELOG.md | grep -c '^- ' || true)
[ "$unreleased" = 0 ] || fault "CHANGELOG.md has $unreleased entries that belong to no version yet"
debian=$(head -1 deploy/deb/changelog 2> /dev/null || true)
[[ $debian =~ ^"hearthlink ($version-"[0-9]+") " ]] || fault "deploy/deb/changelog begins with \`$debian\`"

step "the key"
if [ -z "$key" ]; then
    echo "none is named: --key"
elif gpg --batch --list-secret-keys "$key" > /dev/null 2>&1; then
    gpg --batch --list-keys "$key"
else
    fault "there is no secret key $key in ${GNUPGHOME:-$HOME/.gnupg}"
fi

step "what comes along: licences, bans, sources, and the advisories of today"
# The version that .ci/run has, too.
wanted=$(sed -n 's/^CARGO_DENY=//p' .ci/run)
if ! cargo deny --version 2> /dev/null | grep -qx "cargo-deny $wanted"; then
    run cargo install cargo-deny --locked --version "$wanted" --debug --target-dir target/cargo-deny
fi
# An exception that nobody has looked at for half a year may have lost its reason.
sed -n 's/^ *# \([0-9]\{4\}-[0-9]\{2\}-[0-9]\{2\}\): \(.*\)/\1 \2/p' deny.toml | while read -r day reason; do
    [[ $day > $(date --date='-183 days' +%F) ]] || printf 'look at this exception of deny.toml again: %s, %s\n' "$day" "$reason"
done
if [ -n "$is_dry" ]; then
    cargo deny check licenses bans sources
fi
run cargo deny check

if [ $faults -gt 0 ]; then
    printf '\n%d things are wrong.\n' $faults >&2
    # What would be done is told all the same.
    [ -n "$is_dry" ] || exit 1
fi

step "the packages of all three architectures"
run deploy/build.sh

# The number behind the version is Debian's. Where nothing is built yet, the patterns stay as they are.
packages=(target/packages/"hearthlink_$version"-*_{amd64,arm64,armhf}.deb)

step "the amd64 package is judged, installed, upgraded, removed and purged"
run tests/package/run "${packages[0]}"

step "the programs of the other two run, on emulated processors"
run deploy/smoke.sh arm64
run deploy/smoke.sh armhf

step "checksums, and their signature"
checksums() (
    [ ${#packages[@]} = 3 ] || {
        printf 'there are not three packages, one for each architecture: %s\n' "${packages[*]}" >&2
        exit 1
    }
    cp target/generated/sbom.cdx.json "target/packages/hearthlink_$version.cdx.json"
    cd target/packages
    sha256sum "${packages[@]#target/packages/}" "hearthlink_$version.cdx.json" > SHA256SUMS
    gpg --batch --yes --local-user "$key" --armor --detach-sign --output SHA256SUMS.asc SHA256SUMS
    gpg --batch --verify SHA256SUMS.asc SHA256SUMS
    cat SHA256SUMS
)
run checksums

step "into the signed repository"
run deploy/apt/publish.sh --key "${key:-FINGERPRINT}" --repository "$repository" ${url:+--url "$url"} "${packages[@]}"

step "where people find it"
# The packages before the lists that name them, or somebody's apt asks for what is not there yet. Nothing is deleted.
# --copy-links: a list's name by its hash is a link, which not every web host keeps.
if [ -n "$upload" ]; then
    run rsync --recursive --times --checksum --copy-links --exclude /dists "$repository/" "$upload/"
    run rsync --recursive --times --checksum --copy-links --delay-updates "$repository/dists" "$upload/"
else
    printf 'not uploaded. By hand:\n'
    printf '    rsync --recursive --times --checksum --copy-links --exclude /dists %s/ TARGET/\n' "$repository"
    printf '    rsync --recursive --times --checksum --copy-links --delay-updates %s/dists TARGET/\n' "$repository"
fi

step "what is left to do"
cat << TEXT
- git push origin $tag
- put target/packages/{SHA256SUMS,SHA256SUMS.asc,*.deb,*.cdx.json} to the release of that name, with its part of CHANGELOG.md
- on a machine that has the repository: apt update && apt install hearthlink=$version-1, and look at its page
- docs/releasing.md: what to do if it was a bad one
TEXT
[ $faults -eq 0 ]
