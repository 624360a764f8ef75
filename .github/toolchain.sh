#!/bin/sh
# Makes a fresh Debian 12 into a machine on which `.ci/run` and `deploy/release.sh` run: git, a certificate store, rustup with
# the Rust that packages are built with. All else they install themselves.
set -eu
RUSTUP=1.28.2
# Of https://static.rust-lang.org/rustup/archive/$RUSTUP/x86_64-unknown-linux-gnu/rustup-init
RUSTUP_SHA256=20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c
cd "$(dirname "$0")/.."
rust=$(sed -n 's/^RUST=//p' deploy/build.sh)
[ -n "$rust" ] || { echo 'toolchain: deploy/build.sh names no Rust' >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends ca-certificates curl gcc git libc6-dev xz-utils
curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --output /tmp/rustup-init \
    "https://static.rust-lang.org/rustup/archive/$RUSTUP/x86_64-unknown-linux-gnu/rustup-init"
echo "$RUSTUP_SHA256  /tmp/rustup-init" | sha256sum --check
chmod +x /tmp/rustup-init
/tmp/rustup-init -y --no-modify-path --profile minimal --default-toolchain "$rust" --component clippy,rustfmt
rm /tmp/rustup-init
# The next steps of a workflow find it, and git does not mind that the runner owns the files.
[ -z "${GITHUB_PATH:-}" ] || echo "${CARGO_HOME:-$HOME/.cargo}/bin" >> "$GITHUB_PATH"
git config --global --add safe.directory "$PWD"
