# shellcheck shell=bash disable=SC2154 # the variables are build.sh's
# Sourced by deploy/build.sh, with `repository`, `tools` and the versions set: what packages are made with.
#
# Nothing of it is installed into the machine but plain Debian packages that disturb nothing. Rust is rustup's where it is,
# or else Debian's own for its browsers (`rustc-web`, which bookworm-security keeps new), unpacked below target/tools and not
# installed: it conflicts with `rustc`, which others may need. Its version moves with Debian, so it is looked up, not pinned;
# it must not be older than Cargo.toml's rust-version.

# From Debian what is missing: a C compiler for build scripts (and for programs that run here), pip for zig, readelf, and
# strip and objdump for the three.
fetch_programs() { # ARCH...
    local wanted=(ca-certificates gcc git libc6-dev binutils python3 python3-venv)
    case " $* " in *" arm64 "*) wanted+=(binutils-aarch64-linux-gnu) ;; esac
    case " $* " in *" armhf "*) wanted+=(binutils-arm-linux-gnueabihf) ;; esac
    deploy/need "${wanted[@]}"
}

gnu_prefix() { # ARCH
    case $1 in
    amd64) echo x86_64-linux-gnu- ;;
    arm64) echo aarch64-linux-gnu- ;;
    armhf) echo arm-linux-gnueabihf- ;;
    esac
}

# Zig and cargo-zigbuild, by pip and by the hashes in zig.txt, into a venv. Its cache too is ours.
make_zig() {
    [ "${BUILD_WITH:-zig}" = zig ] || return 0
    export ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache CARGO_ZIGBUILD_CACHE_DIR=$tools/zig-cache
    export CARGO_ZIGBUILD_PYTHON_PATH=$tools/zig/bin/python3
    if [ "$("$tools/zig/bin/python3" -m ziglang version 2> /dev/null)" != "$ZIG" ] || [ ! -x "$tools/zig/bin/cargo-zigbuild" ]; then
        python3 -m venv --clear "$tools/zig"
        "$tools/zig/bin/python3" -m pip install --quiet --no-deps --only-binary :all: --require-hashes \
            --requirement deploy/build/zig.txt
    fi
    # Cargo finds its subcommand by PATH. The venv's python3 stays out of the way of everybody else's.
    mkdir -p "$tools/bin"
    ln -sfn ../zig/bin/cargo-zigbuild "$tools/bin/cargo-zigbuild"
    PATH=$tools/bin:$PATH
}

make_cargo_deb() {
    ! cargo_deb_is_there || return 0
    choose_rust x86_64-unknown-linux-gnu
    env -u RUSTC_BOOTSTRAP cargo install cargo-deb --locked --version "$CARGO_DEB" --root "$tools" --target-dir target/cargo-deb
    rm -rf target/cargo-deb
    PATH=$tools/bin:$PATH
}

cargo_deb_is_there() {
    PATH=$tools/bin:$PATH
    [ "$(cargo-deb --version 2> /dev/null)" = "cargo-deb $CARGO_DEB" ]
}

# Sets PATH and environment to a Rust that can build for TRIPLE, and `build_std` to what cargo must be told for it.
choose_rust() { # TRIPLE
    build_std=()
    if [ "${BUILD_RUST:-rustup}" = rustup ] && rustup_has "$1"; then
        PATH=${PATH//$tools\/debian\/bin:/}
        export RUSTUP_TOOLCHAIN=$RUST
        unset RUSTC_BOOTSTRAP
        return
    fi
    unpack_debian_rust
    case $PATH in
    *"$tools/debian/bin:"*) ;;
    *) PATH=$tools/debian/bin:$PATH ;;
    esac
    # The standard library from its source: Debian's armhf one is ARMv7, and one for arm64 would need a foreign architecture
    # in this machine's apt. Cargo takes `-Z` from a stable compiler only under this name.
    export RUSTC_BOOTSTRAP=1
    # shellcheck disable=SC2034,SC2054 # build.sh reads it; the comma is Cargo's
    build_std=(-Z build-std=std,panic_unwind)
}

rustup_has() { # TRIPLE
    command -v rustup > /dev/null || return 1
    if ! rustup_library "$1"; then
        # No network, or a machine that may not: then Debian's.
        rustup toolchain install "$RUST" --profile minimal --no-self-update --target "$1" > /dev/null 2>&1 || return 1
        rustup_library "$1"
    fi
}

rustup_library() { # TRIPLE
    local library
    library=$(rustup run "$RUST" rustc --print target-libdir --target "$1" 2> /dev/null) && compgen -G "$library/libstd-*.rlib" > /dev/null
}

unpack_debian_rust() {
    local archives=$tools/debian/archives root=$tools/debian/root package wanted
    if [ ! -x "$tools/debian/bin/cargo" ]; then
        rm -rf "$tools/debian"
        mkdir -p "$archives/partial" "$root"
        apt-get update -q
        # With all that they need and this machine has not. `--reinstall`: also if it has them.
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --download-only --reinstall \
            -o "Dir::Cache::archives=$archives" -o APT::Sandbox::User=root rustc-web cargo-web rust-web-src
        for package in "$archives"/*.deb; do
            dpkg-deb --extract "$package" "$root"
        done
        rm -r "$archives"
        mkdir -p "$tools/debian/bin"
        for package in rustc cargo; do
            cat > "$tools/debian/$package" <<END
#!/bin/sh
# Debian's $package, unpacked and not installed. Paths are relative, so that the checkout can move.
root=\$(dirname "\$0")/../root
LD_LIBRARY_PATH=\$root/usr/lib/x86_64-linux-gnu exec "\$root/usr/bin/$package" "\$@"
END
            chmod +x "$tools/debian/$package"
        done
        mv "$tools/debian/rustc" "$tools/debian/cargo" "$tools/debian/bin/"
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    dpkg --compare-versions "$("$tools/debian/bin/rustc" --version | cut -d ' ' -f 2)" ge "$wanted" || {
        echo "Debian's rustc-web here is too old: rustup, or Debian 12 with its security updates, must have Rust $wanted" >&2
        return 1
    }
}
