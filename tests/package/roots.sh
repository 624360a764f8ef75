# Small systems of Debian: built once, copied for each trial, entered with and without a running systemd; read by `run`.
# shellcheck shell=bash disable=SC2154 # $cache, $work and claims are run's and claims.sh's

# What every root has; `unattended-upgrades` only where it is tried. The mirror is this machine's, or mmdebstrap's own.
root_packages=systemd,systemd-sysv,dbus,udev,ca-certificates,tzdata

# build_root SUITE [PACKAGES]: $cache/SUITE, from this week.
build_root() {
    local suite=$1 packages=$root_packages${2:+,$2}
    if [ -n "$(find "$cache/$suite.built" -mtime -7 2> /dev/null)" ] && [ "$(cat "$cache/$suite.built")" = "$packages" ]; then
        return 0
    fi
    rm -rf "${cache:?}/$suite" "$cache/$suite.built"
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$cache/$suite"
    # There is no network inside: only our own repository is asked. What other packages leave to a first boot is not ours.
    rm -rf "$cache/$suite"/etc/apt/sources.list "$cache/$suite"/etc/apt/sources.list.d/* "$cache/$suite"/var/lib/apt/lists/*
    mkdir -p "$cache/$suite/srv/repository" "$cache/$suite/srv/other"
    echo "$packages" > "$cache/$suite.built"
}

# copy_root SUITE NAME: a root to try in, $work/NAME.
copy_root() {
    cp -a --reflink=auto "$cache/$1" "$work/$2"
}

# set_words ROOT ARGUMENT…: the command for a container with its own devices, processes and network, with nothing in it but the
# loopback, into `words`. A tmpfs on /run, because nspawn wants to write there and some machines have it shared.
set_words() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # the inner shell's
    words=(unshare -m sh -c 'mount --make-rprivate /; mount -t tmpfs t /run; exec systemd-nspawn "$@"' nspawn
        --quiet --directory="$root" --register=no --keep-unit --private-network --resolv-conf=off --timezone=off
        --bind-ro="$work/apt:/srv/repository" --bind-ro="$work/forged:/srv/other" "$@")
}

# within NAME COMMAND…: in a root that is not booted, as in a chroot.
within() {
    local root=$work/$1 words
    shift
    set_words "$root" --as-pid2 --pipe --setenv=DEBIAN_FRONTEND=noninteractive --setenv=LC_ALL=C.UTF-8 "$@"
    "${words[@]}" < /dev/null
}

machine=
# boot_root NAME: systemd as in a real machine; `inside` and `beside` work in it from then on.
boot_root() {
    local words
    set_words "$work/$1" --boot --console=pipe
    "${words[@]}" < /dev/null > "$work/console" 2>&1 &
    machine=$!
    if ! soon has_init || ! soon is_booted; then
        echo "it does not boot:"
        cat "$work/console"
        ps --ppid "$machine" -o pid,args
        [ -z "$init" ] || inside systemctl --no-pager list-jobs || true
        exit 1
    fi
}
children_of() { tr -d ' ' < "/proc/$1/task/$1/children"; }
# Its first children are those that prepare it.
has_init() {
    init=$(children_of "$machine")
    [ "$(cat "/proc/${init:-none}/comm" 2> /dev/null)" = systemd ]
}
is_booted() {
    case $(inside systemctl is-system-running 2> /dev/null) in running | degraded) ;; *) return 1 ;; esac
}

# inside COMMAND…: in the booted machine.
inside() {
    nsenter --target "$init" --all --root --wd env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@" < /dev/null
}
# beside COMMAND…: a program of this machine in the network of the booted one.
beside() {
    nsenter --target "$init" --net "$@"
}

# Its first process is killed, and with it go all others; it is thrown away.
shut_down() {
    [ -n "$machine" ] || return 0
    if [ -n "${init-}" ]; then kill -KILL "$init" 2> /dev/null || true; else kill -KILL "$machine" 2> /dev/null || true; fi
    wait "$machine" 2> /dev/null || true
    machine='' init=''
}

# After a claim that failed: what the machine says of the service.
tell_why() {
    [ -n "${init-}" ] && [ -d "/proc/${init-}" ] || return 0
    inside systemctl --no-pager --full status hearthlink >&2 || true
    inside journalctl --no-pager -n 40 -u hearthlink >&2 || true
}

# snapshot ROOT: every file with its kind, mode and owner, and every content.
snapshot() {
    (
        cd "$1"
        local skip=(-xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./srv \) -prune)
        find . "${skip[@]}" -o -printf '%p %y %m %U:%G %l\n'
        sed 's|^|./etc/group has |' etc/group
        find . "${skip[@]}" -o -type f -print0 | xargs -0 sha256sum | sed 's/^\([0-9a-f]*\)  \(.*\)$/\2 is \1/'
    ) | sort
}

# left_over BEFORE AFTER: what a purge has left, but for what is listed here with its reason.
left_over() {
    local ours=(
        # apt's and dpkg's own notes of what they did, in every root alike.
        './var/lib/dpkg/(status|status-old|available|diversions.*|statoverride.*|lock.*|triggers/.*|info/format) '
        './var/lib/apt/' './var/cache/apt/' './var/log/' './var/cache/ldconfig/' './var/cache/debconf/'
        # The copies that userdel and groupdel make of what was before.
        './etc/(passwd|group|shadow|gshadow)- ' './etc/.pwd.lock '
        # The group of the GPIO lines: by now others may be in it, and files its own. Group by group, as above.
        './etc/group has gpio:x:[0-9]*:$' './etc/(group|gshadow) is '
    )
    diff "$1" "$2" | grep '^[<>]' | grep -Ev "^[<>] ($(IFS='|'; echo "${ours[*]}"))" || true
}
