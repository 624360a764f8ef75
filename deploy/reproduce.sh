#!/usr/bin/env bash
# Whether the same commit makes the same package, to the bit.
#
#     deploy/reproduce.sh                      amd64, built twice
#     deploy/reproduce.sh arm64                another one
#     deploy/reproduce.sh amd64 PACKAGE.deb    built once, and compared with that one, which was made of this commit elsewhere
#
# Builds HEAD, not what lies uncommitted in the checkout: in two clones below target/reproduce whose paths are of different
# lengths, each with a home and a cargo home of its own, the second under another umask, time zone and locale and with one
# job at a time. What compiles (zig, Debian's Rust, rustup's toolchain) is the same for both: that it is the same elsewhere
# is what the pinned versions in deploy/build.sh are for. Exit code 0: one sha256, which is printed. 1: two, with what
# differs. Twice the time of deploy/build.sh; crates are downloaded anew.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
stage=$repository/target/reproduce
arch=${1:-amd64}
given=${2:+$(realpath "$2")}

# Of one commit, whatever is committed meanwhile.
commit=$(git rev-parse HEAD)

rm -rf "$stage"
mkdir -p "$stage"
# Both would be looked for below HOME, which is another one in there.
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}

# The package of a clone in PLACE; says where it is as the last line of its log.
build_in() { # PLACE
    local place=$stage/$1 home=$stage/$1.home
    git clone --quiet --no-hardlinks "$repository" "$place"
    git -C "$place" checkout --quiet --detach "$commit"
    mkdir -p "$home/cargo" "$place/target"
    # What is unpacked already need not be fetched again; they are copies by hard links, in a place of their own.
    [ ! -d target/tools ] || cp -al target/tools "$place/target/tools"
    [ ! -e "${CARGO_HOME:-$HOME/.cargo}/config.toml" ] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$home/cargo/"
    HOME=$home CARGO_HOME=$home/cargo "$place/deploy/build.sh" "$arch" > "$stage/$1.log" 2>&1 || {
        tail -n 40 "$stage/$1.log"
        exit 1
    }
}

if [ -n "$given" ]; then
    first=$given
else
    (umask 022 && TZ=UTC LC_ALL=C.UTF-8 build_in one)
    first=$(find "$stage/one/target/packages" -name '*.deb')
fi
(umask 077 && TZ=Pacific/Kiritimati LC_ALL=C CARGO_BUILD_JOBS=1 build_in the-other-one-in-a-longer-place)
second=$(find "$stage/the-other-one-in-a-longer-place/target/packages" -name '*.deb')

sha256sum "$first" "$second"
grep -h ': compiled in' "$stage"/*.log
if cmp --silent "$first" "$second"; then
    printf 'the same bytes, of commit %s\n' "${commit:0:7}"
    exit 0
fi
for side in first second; do
    mkdir -p "$stage/$side"
    dpkg-deb --raw-extract "${!side}" "$stage/$side/files"
    dpkg-deb --contents "${!side}" > "$stage/$side/contents"
    dpkg-deb --ctrl-tarfile "${!side}" | tar -tv > "$stage/$side/control"
    readelf --section-headers --wide "$stage/$side/files/usr/bin/hearthlink" > "$stage/$side/sections"
    strings -n 8 "$stage/$side/files/usr/bin/hearthlink" > "$stage/$side/strings"
done
# What differs, the smallest first: names and times, whole files, then what of the program.
diff --recursive --brief "$stage/first/files" "$stage/second/files" || true
for aspect in contents control sections strings; do
    diff --unified=0 "$stage/first/$aspect" "$stage/second/$aspect" | head -n 40 || true
done
echo "NOT the same: $first and $second" >&2
exit 1
