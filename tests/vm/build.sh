# What the machines are made of; read by `run`. Each part is built anew when its recipe changes.
# shellcheck shell=bash disable=SC2154 # $here and $cache are run's

# Installs what is missing of the packages.
need() {
    "$repository/deploy/need" "$@"
}

# Whether $1 was built by the recipe that standard input is; notes it otherwise in $recipe, for built.
is_built() {
    recipe=$(sha256sum | cut -d ' ' -f 1)
    [ -e "$cache/$1" ] && [ "$(cat "$cache/$1.recipe" 2> /dev/null)" = "$recipe" ]
}

built() {
    echo "$recipe" > "$cache/$1.recipe"
}

# $cache/linux: Debian's kernel source as User-Mode Linux, which is a program.
build_kernel() {
    need linux-source-6.1 make gcc libc6-dev flex bison bc xz-utils
    local version
    version=$(dpkg-query -W -f='${Version}' linux-source-6.1)
    is_built linux < <(declare -f build_kernel; echo "$version"; cat "$here/kernel.config") && return
    echo "building the kernel $version"
    local tree=$cache/kernel
    rm -rf "$tree"
    mkdir -p "$tree"
    tar -xf /usr/src/linux-source-6.1.tar.xz -C "$tree" --strip-components=1
    # What a processor saves of its registers: 11 KB where there is AMX, and the host's kernel takes all of it or nothing.
    sed -i 's/^\tDEFINE_LONGS(HOST_FP_SIZE, 2696);/\tDEFINE_LONGS(HOST_FP_SIZE, 16384);/' "$tree/arch/x86/um/user-offsets.c"
    # 64 interrupts are too few for the lines of a chip of gpio-sim.
    sed -i 's/^#define NR_IRQS.*/#define NR_IRQS 256/' "$tree/arch/um/include/asm/irq.h"
    # Options that stand there twice are told as warnings; the second ones count.
    make -s -C "$tree" ARCH=um defconfig
    cat "$here/kernel.config" >> "$tree/.config"
    make -s -C "$tree" ARCH=um olddefconfig 2> "$cache/kernel.log" || {
        tail "$cache/kernel.log"
        exit 1
    }
    local option
    for option in $(sed -n 's/^\(CONFIG_[A-Z0-9_]*=y\)$/\1/p' "$here/kernel.config"); do
        grep -qx "$option" "$tree/.config" || { echo "the kernel has no $option" >&2; exit 1; }
    done
    nice make -s -C "$tree" ARCH=um -j"$(nproc)" linux > "$cache/kernel.log" 2>&1 || {
        tail "$cache/kernel.log"
        exit 1
    }
    cp "$tree/linux" "$cache/linux"
    rm -rf "$tree"
    built linux
}

# $cache/root: a small Debian with bluetoothd, Mosquitto and bumble.
build_root() {
    need mmdebstrap python3-venv
    is_built root < <(declare -f build_root; cat "$here/requirements.txt") && return
    echo "building the root"
    rm -rf "$cache/root" "$cache/venv"
    mmdebstrap --quiet --variant=minbase \
        --include=bluez,dbus,python3,iproute2,busybox-static,mosquitto,mosquitto-clients,openssl \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' bookworm "$cache/root"
    # Mount points: the root is read-only later.
    mkdir -p "$cache/root/mnt/tests" "$cache/root/mnt/program" "$cache/root/var/lib/bluetooth"
    printf '127.0.0.1 localhost\n' > "$cache/root/etc/hosts"
    # For Debian 12's Python, whichever this machine has.
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check --target "$cache/root/opt/bumble" --no-deps \
        --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --requirement "$here/requirements.txt"
    built root
}
