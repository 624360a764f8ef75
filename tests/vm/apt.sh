# The Debian for arm64 that installs the package; read by `run`. Unlike the other machines it has a disk, systemd and a
# network, as a Pi has, and it is judged from outside: see outside/apt.py.
# shellcheck shell=bash disable=SC2154,SC2034 # what it has from run and build.sh, and $limit, which boot reads

# Has the kernel run arm64's programs by QEMU, for the maintainer scripts of Debian's packages; as qemu-user-static has systemd do
# it at boot, where there is one.
emulate_arm64() {
    local known=/proc/sys/fs/binfmt_misc
    [ -e $known/register ] || mount -t binfmt_misc binfmt_misc $known
    [ -e $known/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $known/register
}

# $cache/apt.disk, apt.kernel and apt.initrd: Debian with what a gateway's machine has, and the trial's hand.
build_system() {
    need mmdebstrap qemu-user-static e2fsprogs python3-venv
    is_built apt.disk < <(declare -f build_system; cat "$here/requirements.txt" "$here/guest/hand.service") && return
    echo "building the arm64 system"
    local root=$cache/apt.root
    rm -rf "$root" "$cache/apt.disk" "$cache/venv"
    emulate_arm64
    # An initrd with this one disk's drivers, as everything is slow here.
    # shellcheck disable=SC2016 # $1 is the hook's
    mmdebstrap --quiet --variant=minbase --architectures=arm64 --skip=check/qemu \
        --include=linux-image-arm64,initramfs-tools,systemd-sysv,dbus,udev,kmod,bluez,ca-certificates,curl,python3,python3-paho-mqtt,iproute2,procps,e2fsprogs \
        --setup-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
        --setup-hook='echo MODULES=list > "$1/etc/initramfs-tools/conf.d/laboratory"' \
        --setup-hook='printf "%s\n" virtio_pci virtio_blk ext4 > "$1/etc/initramfs-tools/modules"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/hearthlink/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$root"
    mv "$root"/boot/vmlinuz-* "$cache/apt.kernel"
    mv "$root"/boot/initrd.img-* "$cache/apt.initrd"
    printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
    echo laboratory > "$root/etc/hostname"
    printf '%s\n' '/dev/vda / ext4 defaults 0 1' 'tests /mnt/tests 9p trans=virtio,version=9p2000.L,ro 0 0' > "$root/etc/fstab"
    printf '[Match]\nType=ether\n[Network]\nDHCP=ipv4\n' > "$root/etc/systemd/network/laboratory.network"
    # The one repository is the trial's own.
    rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
    mkdir -p "$root/mnt/tests" "$root/var/log/journal"
    cp "$here/guest/hand.service" "$root/etc/systemd/system/hand.service"
    chroot "$root" systemctl --quiet enable systemd-networkd hand
    chroot "$root" systemd-machine-id-setup
    # For Debian 12's Python, whichever this machine has.
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --target "$root/opt/bumble" --no-deps \
        --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --requirement "$here/requirements.txt"
    mke2fs -q -t ext4 -L laboratory -d "$root" "$cache/apt.disk" 3G
    rm -rf "$root"
    built apt.disk
}

# $package: HEARTHLINK, or this repository's for arm64.
build_package() {
    package=${HEARTHLINK-}
    if [ -z "$package" ]; then
        "$repository/deploy/build.sh" arm64
        package=$repository/target/packages/hearthlink_$(dpkg-parsechangelog -l "$repository/deploy/deb/changelog" -S Version)_arm64.deb
    fi
    package=$(realpath "$package")
    [ "$(dpkg-deb -f "$package" Architecture)" = arm64 ] || { echo "$package is no package for arm64" >&2; exit 2; }
}

need qemu-system-arm mosquitto mosquitto-clients openssl aptly gnupg dpkg-dev
build_package
build_system
laboratory=$cache/apt
rm -rf "$laboratory"
mkdir "$laboratory"
cp --sparse=always "$cache/apt.disk" "$laboratory/card"
limit=7200
boot env PYTHONPATH="$here/guest" PYTHONDONTWRITEBYTECODE=1 sh -c 'python3 -u "$@"; echo "LAB-END $?"' \
    trial "$here/outside/apt.py" "$laboratory" "$cache/apt.kernel" "$cache/apt.initrd" "$package" "$repository"
rm -r "$laboratory/card" "$laboratory/keys"
