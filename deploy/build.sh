#!/usr/bin/env bash
# Makes the Debian packages, on a Debian 12 amd64 machine, without Docker.
#
#     deploy/build.sh                    all three
#     deploy/build.sh amd64 arm64        some of them: amd64, arm64, armhf
#     BUILD_RUST=debian deploy/build.sh  with Debian's Rust, even where rustup is
#     BUILD_WITH=cross deploy/build.sh   in cross' containers (Cross.toml), where rustup and Docker or Podman are
#
# Result: target/packages/hearthlink_VERSION_ARCH.deb. The armhf one is ARMv6 code: it runs on every Pi, from the first one
# and the Zero on. As root, or with everything there already: what is missing is installed by apt; zig, Debian's Rust and
# cargo-deb come into target/tools. A package takes five to fifteen minutes on two cores, the first one more.
#
# One recipe for all three: rustc, and zig as C compiler and linker (cargo-zigbuild drives it). Zig brings headers and stubs
# of every glibc and builds start-up objects, unwinder and compiler-rt for the processor that it is told. So the floor of
# glibc is what stands below, whatever the building machine has, and one C compiler of a pinned hash makes the same bytes on
# all of them. Debian's cross compilers do for arm64, with the glibc of the building machine (2.34 on bookworm); for armhf
# they link ARMv7 start-up objects and an ARMv7 libgcc into every program, which a Pi Zero answers with SIGILL.
#
# The same commit, the same Rust: the same bytes (deploy/reproduce.sh). No path and no date of this machine gets in.
# shellcheck disable=SC1091,SC2034,SC2154 # what this file and build/*.sh have from each other
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
cd "$repository"
tools=$repository/target/tools
packages=$repository/target/packages

# Raspberry Pi OS bookworm has 2.36. Lower costs nothing here, and bullseye's is 2.31.
GLIBC=2.31
# What rustup builds packages with; a new one makes other bytes.
RUST=1.95.0
ZIG=0.17.1
CARGO_DEB=3.8.0

. deploy/build/tools.sh
. deploy/build/inspect.sh

usage() {
    sed -n '2,/^# shellcheck/{/shellcheck/!s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

[ $# -gt 0 ] || set -- amd64 arm64 armhf
for arch in "$@"; do
    case $arch in
    amd64 | arm64 | armhf) ;;
    *) usage ;;
    esac
done
case ${BUILD_WITH:-zig} in
zig | cross) ;;
*) usage ;;
esac

triple_of() {
    case $1 in
    amd64) echo x86_64-unknown-linux-gnu ;;
    arm64) echo aarch64-unknown-linux-gnu ;;
    armhf) echo arm-unknown-linux-gnueabihf ;;
    esac
}

# Nobody's own flags, and nobody's own place: packages would depend on them.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_BUILD_TARGET_DIR
export CARGO_INCREMENTAL=0
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# Names of this machine become names of none, in panics' places (Rust) and in `assert` (C).
without_paths() { # TRIPLE
    local registry c="" rust="" separator=$'\x1f'
    for registry in "$cargo_home"/registry/src/*/; do
        c+=" -ffile-prefix-map=${registry%/}=/crates"
        rust+="--remap-path-prefix=${registry%/}=/crates$separator"
    done
    export CARGO_ENCODED_RUSTFLAGS="$rust--remap-path-prefix=$repository=/hearthlink"
    export "CFLAGS_${1//-/_}=$c -ffile-prefix-map=$repository=/hearthlink"
}

# Leaves the stripped program in target/TRIPLE/release/hearthlink.
compile() { # ARCH TRIPLE
    local program=target/$2/release/hearthlink
    # The symbols say which function an instruction is in: inspect_armv6 needs them.
    export CARGO_PROFILE_RELEASE_STRIP=none
    if [ "${BUILD_WITH:-zig}" = cross ]; then
        cross build --release --locked --no-default-features --target "$2"
    else
        choose_rust "$2"
        cargo fetch --locked
        without_paths "$2"
        cargo zigbuild --release --locked --no-default-features --target "$2.$GLIBC" "${build_std[@]}"
    fi
    unset CARGO_ENCODED_RUSTFLAGS CARGO_PROFILE_RELEASE_STRIP
    # Cargo's own file stays as it is: it is a link to this one.
    cp "$program" "$program.symbols"
    rm "$program"
    "$(gnu_prefix "$1")strip" --strip-all -o "$program" "$program.symbols"
}

# Manual pages, completions and the SBOM come from a program that runs here: the amd64 one where it is made anyhow.
generate() {
    local program
    program=target/$(triple_of amd64)/release/hearthlink
    case " $* " in
    *" amd64 "*) ;;
    *)
        choose_rust "$(triple_of amd64)"
        env -u RUSTC_BOOTSTRAP cargo build --locked --no-default-features
        program=target/debug/hearthlink
        ;;
    esac
    deploy/generate.sh target/generated "$program"
}

fetch_programs "$@"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
make_zig
make_cargo_deb
mkdir -p "$packages"
for arch in "$@"; do
    triple=$(triple_of "$arch")
    started=$SECONDS
    compile "$arch" "$triple"
    printf '%s: compiled in %d s by %s\n' "$arch" $((SECONDS - started)) "$(rustc --version)"
    inspect_glibc "target/$triple/release/hearthlink"
    if [ "$arch" = armhf ]; then
        inspect_armv6 "target/$triple/release/hearthlink.symbols"
    fi
done
generate "$@"
for arch in "$@"; do
    triple=$(triple_of "$arch")
    cargo deb --locked --no-build --no-strip --quiet --target "$triple" --output "$packages/"
    inspect_sizes "$arch" "target/$triple/release/hearthlink"
done
