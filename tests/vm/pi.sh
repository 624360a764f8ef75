# The emulated Raspberry Pi 3; read by `run`. Its root is an initramfs, for Debian's kernel has its SD card in modules.
# shellcheck shell=bash disable=SC2154 # $here, $repository, $cache, need and boot are run's and build.sh's

# $cache/pi.root: Debian for arm64, unpacked only, so that no program of it needs to run here; with kernel and device tree.
build_pi() {
    need mmdebstrap
    is_built pi.root < <(declare -f build_pi) && return
    echo "building the Pi's root"
    rm -rf "$cache/pi.root"
    mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include=linux-image-arm64,busybox-static,python3,mosquitto,mosquitto-clients,openssl,libgcc-s1 \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/lib/modules/*' \
        --dpkgopt='path-exclude=/usr/lib/aarch64-linux-gnu/gconv/*' bookworm "$cache/pi.root"
    mv "$cache"/pi.root/boot/vmlinuz-* "$cache/pi.kernel"
    mv "$cache"/pi.root/usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb "$cache/pi.dtb"
    rm -rf "$cache"/pi.root/boot "$cache"/pi.root/usr/lib/linux-image-*
    printf '127.0.0.1 localhost\n' > "$cache/pi.root/etc/hosts"
    printf 'root:x:0:0:root:/:/bin/sh\n' > "$cache/pi.root/etc/passwd"
    built pi.root
}

# The program for arm64: HEARTHLINK, or a debug build of this repository.
build_arm64() {
    if [ -n "${HEARTHLINK-}" ]; then
        program=$(realpath "$HEARTHLINK")
    else
        need gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        rustup target add aarch64-unknown-linux-gnu
        # As packages are built, but quicker, and without debug information: it has to fit into the Pi's memory.
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
            AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar CARGO_PROFILE_DEV_DEBUG=0 \
            nice cargo build --locked --no-default-features --target aarch64-unknown-linux-gnu --manifest-path "$repository/Cargo.toml"
        program=${CARGO_TARGET_DIR:-$repository/target}/aarch64-unknown-linux-gnu/debug/hearthlink
    fi
    local machine
    machine=$(od -An -tx2 -j18 -N2 "$program")
    [ "${machine// /}" = 00b7 ] || { echo "$program is no program for arm64" >&2; exit 2; }
}

need qemu-system-arm cpio
build_pi
build_arm64
# What changes is laid over the root: a kernel unpacks one archive behind the other.
layer=$(mktemp -d)
mkdir -p "$layer"/mnt/program "$layer"/mnt/tests
install -m 755 "$program" "$layer/mnt/program/hearthlink"
cp -r "$here/guest" "$layer/mnt/tests/guest"
date +%s > "$layer/mnt/tests/now"
install -m 755 "$here/guest/pi-init" "$layer/init"
{
    (cd "$cache/pi.root" && find . | cpio --quiet -o -H newc)
    (cd "$layer" && find . | cpio --quiet -o -H newc)
} > "$cache/pi.initramfs"
rm -rf "$layer"
boot qemu-system-aarch64 -M raspi3b -nographic -no-reboot -nic none -kernel "$cache/pi.kernel" -dtb "$cache/pi.dtb" \
    -initrd "$cache/pi.initramfs" \
    -append "console=ttyAMA0,115200 panic=-1 quiet iomem=relaxed rdinit=/init"
