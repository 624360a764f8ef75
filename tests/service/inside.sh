#!/bin/bash
# Runs inside a system that tests/service/booted.rs has booted: a real systemd with the machine's own programs, on files that
# are thrown away. Starts the service under its own unit, with a serial line, a Bluetooth daemon that does what it is told,
# and a secret of root's; prints a fact a line, `name=value`. Judges nothing: that is booted.rs' business.
#
# $1: the repository. /out: what it prints goes there.
set -u
repository=$1
unit=hearthlink.service

fact() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
property() { systemctl show --property "$1" --value "$unit"; }
# Waits until a command succeeds.
until_it_is() {
    for _ in $(seq 300); do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}
says() { journalctl --unit "$unit" --output cat --no-pager | grep --quiet --fixed-strings -- "$1"; }
has_started_again() { [ "$(property NRestarts)" -gt "$1" ] && [ "$(property ActiveState)" = active ]; }
state() { mosquitto_sub -h 127.0.0.1 -t "home/$1" -C 1 -W 30; }
# Whether another program goes well under the whole of the unit.
under_the_unit() {
    sed "s|^ExecStart=.*|ExecStart=$1|; s|^Type=.*|Type=oneshot|; /^Restart/d; /^ExecReload/d; /^NotifyAccess/d; /^WatchdogSec/d" \
        /etc/systemd/system/$unit > /run/systemd/system/attempt.service
    systemctl daemon-reload
    if systemctl start attempt.service; then echo yes; else echo no; fi
}

# What the package brings.
systemd-sysusers "$repository/deploy/deb/sysusers.conf"
fact groups "$(id --name --groups hearthlink)"
install -d -m 750 -g hearthlink /etc/hearthlink
install -d -m 700 /etc/hearthlink/credentials
install -m 644 "$repository/systemd/$unit" /etc/systemd/system/$unit
install -m 644 "$repository/deploy/deb/dbus.conf" /usr/share/dbus-1/system.d/hearthlink.conf
# What Debian's package `bluez` brings, as far as a Bluetooth daemon of root's needs it; and one more service.
cat > /usr/share/dbus-1/system.d/daemons.conf << 'POLICY'
<busconfig><policy user="root"><allow own="org.bluez"/><allow send_destination="org.bluez"/><allow own="org.example.Other"/></policy>
<policy context="default"><allow send_destination="org.example.Other"/></policy></busconfig>
POLICY
systemctl start dbus.service
systemctl reload dbus.service

# A serial line: the far end says a temperature again and again.
socat "PTY,link=/dev/ttyUSB0,raw,echo=0,mode=660,group=dialout" "PTY,link=/dev/far,raw,echo=0" &
until_it_is test -e /dev/far
(while sleep 0.2; do echo '{"temperature": 7.25}' > /dev/far; done) &

# A Bluetooth daemon, and a thermometer in the air.
bus=unix:path=/run/dbus/system_bus_socket
mkfifo /tmp/orders
"$repository/tests/interop/bluez/venv/bin/python" "$repository/tests/interop/bluez/bluez.py" $bus < /tmp/orders > /dev/null &
exec 3> /tmp/orders
echo '{"do": "advertise", "address": "A4:C1:38:01:02:03", "rssi": -61, "service_data": {"fcd2": "40026608"}, "every": 0.1}' >&3
"$repository/tests/interop/bluez/venv/bin/python" - << 'OTHER' &
import asyncio
from dbus_fast import BusType
from dbus_fast.aio import MessageBus
async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    await bus.request_name("org.example.Other")
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
OTHER

cat > /etc/hearthlink/config.yaml << 'CONFIG'
gateway: {id: home}
broker: {listeners: [{address: "127.0.0.1:1883"}]}
web: {address: "127.0.0.1:8080", password_file: /run/credentials/hearthlink.service/secret_page}
devices:
  - {id: cellar, kind: serial_line, options: {port: /dev/ttyUSB0}}
  - {id: attic, kind: bthome, options: {address: "A4:C1:38:01:02:03"}}
CONFIG
chgrp hearthlink /etc/hearthlink/config.yaml
chmod 640 /etc/hearthlink/config.yaml
echo "let me in" > /etc/hearthlink/credentials/page
chmod 600 /etc/hearthlink/credentials/page

# It starts, and all of its buses work.
systemctl daemon-reload
systemctl start $unit
fact started "$(property ActiveState)"
pid=$(property MainPID)
fact user "$(stat --format %U /proc/"$pid")"
fact capabilities "$(grep -hoP '^Cap(Prm|Eff|Bnd|Amb):\s*\K.*' /proc/"$pid"/status | sort --unique)"
fact seccomp "$(grep -oP '^Seccomp:\s*\K.*' /proc/"$pid"/status)"
fact state_directory "$(stat --format '%U %a' /var/lib/hearthlink)"
fact credential "$(ls /run/credentials/$unit)"
fact serial "$(state cellar)"
fact bluetooth "$(state attic)"
until_it_is sh -c "systemctl show --property StatusText --value $unit | grep --quiet working"
fact status "$(property StatusText)"
systemctl reload $unit
until_it_is says reloaded
fact reloaded "$(property ActiveState)"

# What the user may do on the message bus, and what a stranger may.
ask() { # user, destination, method, arguments
    local user=$1 to=$2
    shift 2
    setpriv --reuid "$user" --regid nogroup --clear-groups dbus-send --system --print-reply --dest="$to" "$@" 2>&1 |
        grep --quiet AccessDenied && echo denied || echo allowed
}
until_it_is dbus-send --system --print-reply --dest=org.example.Other / org.freedesktop.DBus.Peer.Ping
fact bus_bluez "$(ask hearthlink org.bluez / org.freedesktop.DBus.ObjectManager.GetManagedObjects)"
fact bus_bluez_stranger "$(ask nobody org.bluez / org.freedesktop.DBus.ObjectManager.GetManagedObjects)"
fact bus_other "$(ask hearthlink org.example.Other / org.freedesktop.DBus.Peer.Ping)"
fact bus_other_stranger "$(ask nobody org.example.Other / org.freedesktop.DBus.Peer.Ping)"
fact bus_own "$(ask hearthlink org.freedesktop.DBus / org.freedesktop.DBus.RequestName string:org.bluez uint32:4)"

# What it may, and what it may not.
fact may_read_etc "$(under_the_unit '/bin/cat /etc/hearthlink/config.yaml')"
fact may_write_state "$(under_the_unit '/bin/touch /var/lib/hearthlink/x')"
fact may_read_cpuinfo "$(under_the_unit '/bin/cat /proc/cpuinfo /proc/meminfo /proc/loadavg')"
fact may_write_etc "$(under_the_unit '/bin/touch /etc/hearthlink/x')"
fact may_read_secrets "$(under_the_unit '/bin/cat /etc/hearthlink/credentials/page')"
fact may_see_others "$(under_the_unit '/bin/test -e /proc/1')"
fact may_see_home "$(under_the_unit '/bin/test -e /root/.')"
fact may_mount "$(under_the_unit '/bin/mount -t tmpfs tmpfs /tmp')"
fact may_unshare "$(under_the_unit '/usr/bin/unshare --user true')"

# A program that stands still is ended, and started again.
mkdir -p /run/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=3\nRestartSec=0\n' > /run/systemd/system/$unit.d/fast.conf
systemctl daemon-reload
systemctl restart $unit
sleep 7
fact restarts_while_it_turns "$(property NRestarts)"
kill -STOP "$(property MainPID)"
until_it_is has_started_again 0
fact restarted_by_watchdog "$(property ActiveState)"
fact watchdog_said "$(says 'Watchdog timeout' && echo yes)"

# A house without buses.
mkdir -p /etc/systemd/system/$unit.d
cp "$repository/systemd/lan-only.conf" /etc/systemd/system/$unit.d/
sed -i '/cellar\|attic/d; s/^devices:/devices: [{id: toaster, kind: toaster}]/' /etc/hearthlink/config.yaml
systemctl daemon-reload
systemctl restart $unit
fact lan_only "$(property ActiveState)"
fact lan_only_state "$(state toaster)"
seen_by_it() { if nsenter --mount --target "$(property MainPID)" test -e "$1"; then echo there; else echo gone; fi; }
fact lan_only_serial "$(seen_by_it /dev/ttyUSB0)"
fact lan_only_null "$(seen_by_it /dev/null)"
rm /etc/systemd/system/$unit.d/lan-only.conf

# A configuration that is wrong ends it for good.
echo 'gateway: {ident: home}' > /etc/hearthlink/config.yaml
systemctl daemon-reload
systemctl reset-failed $unit
systemctl restart $unit
until_it_is test "$(property ActiveState)" = failed
sleep 1
fact bad_file "$(property ActiveState) $(property ExecMainStatus) $(property NRestarts)"

# No secrets, and not even a directory for them.
printf 'gateway: {id: home}\nbroker: {listeners: []}\n' > /etc/hearthlink/config.yaml
rm /etc/hearthlink/credentials/page
systemctl restart $unit
fact no_secret "$(property ActiveState)"
rmdir /etc/hearthlink/credentials
systemctl restart $unit
until_it_is says status=243/CREDENTIALS
fact no_directory_of_secrets "$(says status=243/CREDENTIALS && echo refused)"
