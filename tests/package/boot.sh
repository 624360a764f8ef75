# A bookworm that is booted: the service from its first start to the purge. Read by `run`.
# shellcheck shell=bash disable=SC2154 # names of run, claims.sh, roots.sh and judges.sh

part "bookworm, booted with systemd"
build_root bookworm unattended-upgrades
copy_root bookworm machine
boot_root machine

apt_inside() { inside apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"; }
# PROPERTY: of the unit.
unit() { inside systemctl show hearthlink --property "$1" --value; }
is_active() { [ "$(unit ActiveState)/$(unit SubState)" = active/running ]; }
has_failed() { [ "$(unit ActiveState)" = failed ]; }
# PATH: the page's answer.
page() {
    # shellcheck disable=SC2016 # the inner shell's
    beside bash -c 'exec 3<> /dev/tcp/127.0.0.1/8080 && printf "GET %s HTTP/1.0\r\nHost: 127.0.0.1:8080\r\n\r\n" "$1" >&3 && cat <&3' page "$1"
}
page_says() { says "$2" page "$1"; }
only_loopback_listens() {
    local doors
    doors=$(beside ss -Htuln | awk '{ print $5 }')
    printf '%s\n' "$doors"
    grep -q '^127\.0\.0\.1:8080$' <<< "$doors" && ! grep -Ev '^(127\.0\.0\.1|\[::1\]):' <<< "$doors"
}
# FIELD PATTERN: a line of /proc/PID/status of the service, as the kernel has it.
kernel_says() { grep -E "^$1:[[:space:]]+$2$" "/proc/$(of_machine "$(unit MainPID)")/status"; }
# The number out here of a process in there.
of_machine() { awk -v inner="$1" '$1 == "NSpid:" && NF == 3 && $3 == inner { print FILENAME }' /proc/[0-9]*/status 2> /dev/null | cut -d/ -f3 | while read -r pid; do
    [ "$(readlink "/proc/$pid/ns/pid")" = "$(readlink "/proc/$init/ns/pid")" ] && echo "$pid"; done; }
# ID: the journal has this event of the service.
event() { says hearthlink inside journalctl -q --no-pager -o short "MESSAGE_ID=$1"; }
# The ids of the readings that wait, a line each.
waiting() { inside hearthlink queue list --json | grep -o '"id":"[^"]*"'; }
five_wait() { [ "$(waiting | wc -l)" = 5 ]; }
publish_reading() { beside mosquitto_pub -h 127.0.0.1 -q 1 -t sensor/state -m "{\"temperature\": $1}"; }

inside apt-get -q -y install /srv/repository/hearthlink-archive-keyring.deb > "$work/said" 2>&1
# apt's own settings for one other source, with lists of its own.
claim "apt refuses the repository when somebody has changed what was signed" not inside sh -c '
    mkdir -p /tmp/lists/partial && sed s,/srv/repository,/srv/other, /etc/apt/sources.list.d/hearthlink.sources > /tmp/other.sources &&
    apt-get -o Dir::Etc::sourceparts=- -o Dir::Etc::sourcelist=/tmp/other.sources -o Dir::State::lists=/tmp/lists \
        -o APT::Update::Error-Mode=any update'
claim "and takes it as it is" inside apt-get -q -o APT::Update::Error-Mode=any update
claim "it is known by its origin and suite" says "o=Hearthlink,a=stable,n=stable,l=Hearthlink,c=main" inside apt-cache policy
claim "apt installs hearthlink $version" apt_inside install "hearthlink=$version"

claim "the service runs, and systemd was told when it was ready" soon is_active
claim "its page leads through the first start" soon page_says / "/etc/hearthlink/config.yaml"
claim "nothing listens but on loopback" only_loopback_listens
claim "it runs as its own user" same "$(unit User)" hearthlink
claim "the kernel knows of no capability" kernel_says CapBnd 0+
claim "nor of any that it could gain" kernel_says NoNewPrivs 1
claim "and filters its system calls" kernel_says Seccomp 2
claim "systemd finds nothing wrong in the unit" same "$(inside systemd-analyze --man=no verify /usr/lib/systemd/system/hearthlink.service 2>&1)" ""

claim "hearthlink init fills its configuration" inside hearthlink init --yes --no-scan
claim "which is still root's and the service's" same "$(inside stat -c '%A %U:%G' /etc/hearthlink/config.yaml)" "-rw-r----- root:hearthlink"
claim "with a good file it becomes the gateway by itself" soon publish_reading 0
# Written in place, as `nano` does. Nobody is there at the cloud's address.
cat > "$work/machine/etc/hearthlink/config.yaml" << 'YAML'
gateway:
  id: home
routes:
  - local: sensor/#
cloud:
  url: wss://127.0.0.1:9/mqtt
YAML
claim "restarted, it has what was written by hand" inside systemctl restart hearthlink
soon publish_reading 1
pid=$(unit MainPID)
for number in 2 3 4 5; do publish_reading $number; done
claim "what is accepted waits for the cloud" soon five_wait
waits=$(waiting)
claim "the journal has it, by the event's id" soon event 446adb2ead3540c0978ee3c5b8029d98
claim "and explains it" says "serves its devices" inside journalctl -q -x --no-pager -u hearthlink
claim "systemctl status shows it" says "active (running)" inside systemctl --no-pager status hearthlink
claim "reload" inside systemctl reload hearthlink
claim "is told of" soon event 085dce24d184418680f26e5f25192471
claim "and starts nothing anew" same "$(unit MainPID)" "$pid"

# By the shell: a small system has no program of that name.
inside sh -c "kill -KILL $pid"
is_another() { is_active && [ "$(unit MainPID)" != "$pid" ]; }
claim "killed (kill -9), it is started again" soon is_another
claim "and nothing of what waits is lost" same "$(waiting)" "$waits"

part "upgrade and back"
newer=${version%-*}+newer-1
make_version "$newer"
publish "$made" > "$work/said"
inside apt-get -q update > "$work/said" 2>&1
follows() { inside unattended-upgrade --dry-run --debug; }
claim "unattended-upgrades does not follow the repository by itself" not says "origin=Hearthlink" follows
inside cp /usr/share/doc/hearthlink-archive-keyring/examples/52hearthlink-unattended-upgrades /etc/apt/apt.conf.d/
claim "but does when it is told to" says "origin=Hearthlink,suite=stable" follows
claim "and would upgrade hearthlink" says "Packages that will be upgraded: hearthlink" follows
pid=$(unit MainPID)
claim "upgrade to $newer" apt_inside upgrade
claim "the new one runs" soon is_another
claim "and the old one has stopped in order" event 52a01cf579f74746b019a063ba5f987d
claim "the version is the new one" same "$(inside dpkg-query -W -f '${Version}' hearthlink)" "$newer"
claim "the configuration is as it was written" says "id: home" inside cat /etc/hearthlink/config.yaml
claim "what waits is the same" same "$(waiting)" "$waits"
pid=$(unit MainPID)
claim "back to $version" apt_inside install --allow-downgrades "hearthlink=$version"
claim "that one runs" soon is_another
claim "and what waits is the same" same "$(waiting)" "$waits"

part "a configuration that is wrong"
inside cp -p /etc/hearthlink/config.yaml /etc/hearthlink/good
inside sh -c 'echo "gatewy: {}" >> /etc/hearthlink/config.yaml'
claim "the service does not start with it" not inside systemctl restart hearthlink
claim "it says so by its exit code, and is not tried again" soon has_failed
claim "which is 78" same "$(unit ExecMainStatus)" 78
claim "dpkg is done with a package whose service does not start, and tells why" \
    says "but the service did not start" apt_inside install --reinstall "hearthlink=$version"
claim "nothing is half done" same "$(inside dpkg --audit)" ""
inside cp -p /etc/hearthlink/good /etc/hearthlink/config.yaml
inside rm /etc/hearthlink/good
claim "mended, it starts" inside systemctl restart hearthlink

part "remove and purge"
running() { inside sh -c 'grep -lx hearthlink /proc/[0-9]*/comm' 2> /dev/null | wc -l | sed 's/^0$//'; }
claim "it runs" same "$(running)" 1
claim "removed" apt_inside remove hearthlink
claim "nothing of it runs any more" same "$(running)" ""
inside sh -c 'printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d'
claim "installed again where policy-rc.d is against it" apt_inside install "hearthlink=$version"
claim "it does not start" not is_active
inside rm /usr/sbin/policy-rc.d
claim "but by hand it goes on" inside systemctl start hearthlink
claim "with what waits" same "$(waiting)" "$waits"
claim "purged while it runs, and it says what goes" says "purging the configuration and the keys" apt_inside purge hearthlink
claim "its files, its user and what systemd noted of it are gone" same "$(inside sh -c '
    ls -d /etc/hearthlink /var/lib/hearthlink /var/lib/systemd/deb-systemd-helper-*/*hearthlink* /etc/systemd/system/*hearthlink* \
        /etc/systemd/system/*/hearthlink* 2> /dev/null
    getent passwd hearthlink; getent group hearthlink; systemctl list-units --all --no-legend "hearthlink*"')" ""
shut_down
rm -rf "$work/machine"
