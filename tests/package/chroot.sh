# Install, upgrade, remove and purge where no systemd runs: an image that is being built, a chroot, a container; and what is
# left of it in the root. Read by `run`.
# shellcheck shell=bash disable=SC2154 # names of run, claims.sh, roots.sh and judges.sh

# Its conffile has another comment: dpkg must then think of what was changed by hand.
echo "# newest" >> "$work/unpacked/etc/hearthlink/config.yaml"
newest=${version%-*}+newest-1
make_version "$newest"
publish "$made" > "$work/said"

owners() {
    within "$1" stat -c '%A %U:%G %n' /etc/hearthlink /etc/hearthlink/config.d /etc/hearthlink/config.yaml /etc/hearthlink/credentials
}
apt() {
    local root=$1
    shift
    within "$root" apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}

chroot_trial() {
    local suite=$1 root=$work/$1
    part "$suite without a running systemd"
    build_root "$suite" "$2"
    copy_root "$suite" "$suite"
    snapshot "$root" > "$work/$suite.before"

    claim "the keyring's package brings key and source" apt "$suite" install /srv/repository/hearthlink-archive-keyring.deb
    claim "apt reads the repository" apt "$suite" update
    claim "apt installs hearthlink $version from it" apt "$suite" install --no-install-recommends "hearthlink=$version"
    claim "the service will start at the next boot" within "$suite" systemctl is-enabled hearthlink
    claim "its user has neither password nor shell" says "hearthlink:!" within "$suite" sh -c \
        'getent passwd hearthlink | grep :/usr/sbin/nologin$ && getent shadow hearthlink'
    claim "root and the service read the configuration, and nobody else" same "$(owners "$suite")" \
"drwxr-x--- root:hearthlink /etc/hearthlink
drwxr-x--- root:hearthlink /etc/hearthlink/config.d
-rw-r----- root:hearthlink /etc/hearthlink/config.yaml
drwx------ root:root /etc/hearthlink/credentials"

    snapshot "$root" > "$work/$suite.installed"
    claim "its scripts may be called again, as after work that was broken off" within "$suite" sh -ec '
        for call in "configure '"$version"'" abort-upgrade "abort-remove" "abort-deconfigure in-favour x 1"; do
            DPKG_MAINTSCRIPT_NAME=postinst DPKG_MAINTSCRIPT_PACKAGE=hearthlink /var/lib/dpkg/info/hearthlink.postinst $call
        done'
    snapshot "$root" > "$work/$suite.again"
    claim "which changes nothing" same "$(left_over "$work/$suite.installed" "$work/$suite.again")" ""

    within "$suite" sh -ec 'echo "# by hand" >> /etc/hearthlink/config.yaml
        dpkg-statoverride --add --update root root 0600 /etc/hearthlink/config.yaml
        dpkg-statoverride --add --update root hearthlink 0711 /opt
        mkdir /var/lib/hearthlink && echo waiting > /var/lib/hearthlink/queue && chown -R hearthlink: /var/lib/hearthlink
        mkdir -p /etc/systemd/system/hearthlink.service.d && echo "[Service]" > /etc/systemd/system/hearthlink.service.d/override.conf
        systemctl disable -q hearthlink' 2> "$work/said"
    claim "upgrade to $newest" apt "$suite" -o Dpkg::Options::=--force-confold upgrade
    claim "the configuration is as it was left, although the new package has another" says "# by hand" within "$suite" tail -n 1 /etc/hearthlink/config.yaml
    claim "so are its owner and mode, by dpkg-statoverride" says "-rw------- root:root /etc/hearthlink/config.yaml" owners "$suite"
    claim "a service that was disabled stays so" not within "$suite" systemctl is-enabled hearthlink
    claim "back to $version" apt "$suite" -o Dpkg::Options::=--force-confold install --allow-downgrades "hearthlink=$version"
    claim "removed" apt "$suite" remove hearthlink
    claim "what was configured and what waits stay" within "$suite" \
        ls /etc/hearthlink/config.yaml /var/lib/hearthlink/queue /etc/systemd/system/hearthlink.service.d/override.conf
    claim "installed again it is there" apt "$suite" -o Dpkg::Options::=--force-confold install --no-install-recommends hearthlink
    within "$suite" chown root:root /opt
    within "$suite" chmod 755 /opt
    claim "purged, and it says what goes" says "purging the configuration and the keys" apt "$suite" purge hearthlink
    claim "dpkg is at rest, with no override of a user that is gone" same "$(within "$suite" sh -c 'dpkg --audit 2>&1; dpkg-statoverride --list | grep -v " messagebus "')" ""
    claim "the keyring's package is purged" apt "$suite" purge hearthlink-archive-keyring
    snapshot "$root" > "$work/$suite.after"
    claim "the root is as it was" same "$(left_over "$work/$suite.before" "$work/$suite.after")" ""
    rm -rf "$root"
}

chroot_trial bookworm unattended-upgrades
chroot_trial trixie ""
