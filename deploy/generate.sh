#!/usr/bin/env bash
# What a package has beside the program, made from the program itself: manual pages, completions, the bill of materials, and
# the notices of what it is linked from.
#
#     deploy/generate.sh OUTDIR HEARTHLINK_BINARY
#
# The binary must run here. One commit gives the same bytes everywhere: the one date, that of the manual pages, is
# SOURCE_DATE_EPOCH, or else that of the newest entry of deploy/deb/changelog. Needs cargo and Python 3.10.
set -euo pipefail
[ $# -eq 2 ] || { printf 'usage: %s OUTDIR HEARTHLINK_BINARY\n' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(realpath "$1")
binary=$(realpath "$2")
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    newest=$(sed -n 's/^ -- .*>  //p' deploy/deb/changelog | head -1)
    [ -n "$newest" ] || { echo 'generate: deploy/deb/changelog says no date' >&2; exit 1; }
    SOURCE_DATE_EPOCH=$(date --date="$newest" +%s)
fi
export SOURCE_DATE_EPOCH

# What an older version made is gone: cargo-deb takes whatever lies here.
rm -rf "$out/man" "$out/completions"
mkdir -p "$out/completions"
"$binary" man "$out/man"
"$binary" completions bash > "$out/completions/hearthlink.bash"
"$binary" completions zsh > "$out/completions/_hearthlink"
"$binary" completions fish > "$out/completions/hearthlink.fish"

# There is no Debian package of it. A debug build is a third of the compile time and quick enough for us.
wanted=$(sed -n 's/^CYCLONEDX = "\(.*\)"$/\1/p' deploy/sbom.py)
if ! cargo cyclonedx --version 2> /dev/null | grep -qx ".* $wanted"; then
    cargo install cargo-cyclonedx --locked --version "$wanted" --debug --target-dir target/cargo-cyclonedx
    rm -rf target/cargo-cyclonedx
fi
deploy/sbom.py make "$out/sbom.cdx.json" "$binary"
deploy/notices.py "$out/notices.gz"
printf '%s: %s manual pages, %s completions, a bill of materials\n' \
    "$out" "$(find "$out/man" -type f | wc -l)" "$(find "$out/completions" -type f | wc -l)"
