"""The trial of the package: a Debian for arm64 installs Hearthlink with apt, lives with it, and loses its power.

The cloud, the phone and the repository are outside the machine and the judge is, too; the machine has nothing but a way
out. All parts of the machine are what people have: systemd, udev, BlueZ, the kernel's drivers, the service under its own
unit. Every value that is waited for was made up in this run. After each power cut the histories are compared: what was
acknowledged at home with what the cloud was told, what the fan was ordered with how each command ended.

    apt.py FOLDER KERNEL INITRD PACKAGE CHECKOUT

FOLDER has the disk as `card`, which is changed.
"""

import http.server
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from cut import Histories, lose_power
from house import Cloud, Phone, has
from judge import Judge, eventually
from machine import BOOT, HOST, Machine
from service import CONFIG, DEVICES, KEY, MANY, SERVICE, Service, gateway

CUTS = int(os.environ.get("LAB_CUTS", "3"))
SEED = int(os.environ.get("LAB_SEED", str(random.randrange(10**6))))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing: apt asks for much that need not be there."""


def publish(folder, package, checkout):
    """The signed repository with this package, as any web server has it; gives the server's port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = folder.with_name("keys")
    keys.mkdir(mode=0o700)
    program = checkout / "deploy/apt/publish.sh"
    words = ["--repository", folder, "--url", f"http://{HOST}:{server.server_port}"]
    surroundings = {**os.environ, "GNUPGHOME": str(keys)}
    subprocess.run([program, "--make-key", *words, package], check=True, env=surroundings)
    # GnuPG leaves its agent running.
    subprocess.run(["gpgconf", "--kill", "all"], check=True, env=surroundings)
    return server.server_port


def main():
    place, kernel, initrd, package, checkout = map(Path, sys.argv[1:])
    # The name of a socket is short: the folder's would be too long in some checkouts.
    os.chdir(place)
    folder, judge, lot = Path(), Judge(), random.Random(SEED)
    judge.note("seed", str(SEED))
    cloud_port, phone_port, web_port = free_port(), free_port(), publish(place / "repository", package, checkout)
    cloud = Cloud(folder, cloud_port, phone_port)
    machine = Machine(folder, folder / "card", kernel, initrd, checkout / "tests/vm/guest", SEED)
    service = Service(machine)

    with judge.claim("Debian boots with systemd") as seen:
        seen.append(f"{machine.boot():.0f} s")
        state = machine.shell("systemctl is-system-running --wait || true").strip()
        assert state == "running", machine.shell("systemctl --failed; journalctl -b -p err")
        seen.append(state)
    with judge.claim("apt installs the package from the signed repository") as seen:
        seen.append(install(machine, web_port))
    first_start(judge, machine, service, folder, cloud_port)
    bare = gateway(cloud_port, KEY)
    with judge.claim("its memory and its start, without a device and with 200") as seen:
        for many, text in (("no device", bare), ("200 devices", bare + MANY)):
            service.run_with(text)
            seen.append(f"{many}: {service.resident()}, ready after {service.took_to_start()}")
    with judge.claim("it runs with devices on every bus"):
        service.run_with(bare + DEVICES)
    phone = Phone(phone_port)
    commands(judge, machine, phone)
    buses(judge, machine, service, phone)
    histories = Histories(machine, phone)
    for _ in range(CUTS):
        lose_power(judge, machine, service, histories, cloud, lot)
    with judge.claim("no task of it panicked in all that time") as seen:
        assert "panicked" not in machine.do("journalctl", "-u", SERVICE, "-o", "cat", patience=BOOT)
        seen.append(f"{machine.shell('journalctl -q --list-boots | wc -l').strip()} boots")

    for name, command in (
        ("package", "dpkg-query -W hearthlink"), ("kernel", "uname -rm"), ("systemd", "systemctl --version"),
        ("bluez", "/usr/libexec/bluetooth/bluetoothd --version"),
    ):
        judge.note(name, machine.shell(command))
    judge.note("qemu", subprocess.run(["qemu-system-aarch64", "--version"], capture_output=True, text=True).stdout)
    said = machine.do("journalctl", "-u", SERVICE, "-o", "short-precise", patience=BOOT)
    (folder / "hearthlink.log").write_text(said)
    machine.lose_power()
    machine.disk.terminate()
    cloud.end()
    judge.finish([folder / "hearthlink.log", cloud.log])


def install(machine, port):
    """As docs/packages.md has it; gives what is installed then."""
    machine.shell(
        f"cd /tmp; curl -fsSO http://{HOST}:{port}/hearthlink-archive-keyring.deb; export DEBIAN_FRONTEND=noninteractive;"
        "apt-get install -y -q ./hearthlink-archive-keyring.deb; apt-get update -q; apt-get install -y -q hearthlink",
        patience=BOOT,
    )
    return "; ".join(machine.do("dpkg-query", "-W", "hearthlink*").split("\n")[:-1]).replace("\t", " ")


def first_start(judge, machine, service, folder, cloud_port):
    """From the fresh package to a line to the cloud whose key is root's."""
    with judge.claim("the package starts its service, whose page on loopback leads on") as seen:
        assert service.show("ActiveState") == "active", service.log()
        page = machine.do("curl", "-fsS", "http://127.0.0.1:8080/")
        assert CONFIG in page, page
        seen += [f"Type={service.show('Type')}", listening(machine)]
    with judge.claim("it becomes the gateway by itself, once the file is saved, and dials out") as seen:
        process = service.show("MainPID")
        for name, mode, owner in (
            ("ca.pem", "644", "root:root"), ("home.pem", "644", "root:root"), ("home.key", "400", "hearthlink:hearthlink")
        ):
            machine.write(f"/etc/hearthlink/{name}", (folder / name).read_text(), mode, owner)
        service.configure(gateway(cloud_port, "home.key"))
        service.wait_online()
        assert service.show("MainPID") == process, "it was started anew"
        user = machine.do("ps", "-o", "user=", "-p", process).strip()
        seen += [f"process {process} all the while, as {user}", listening(machine)]
    with judge.claim("a key that is root's alone comes to it by systemd's credentials"):
        machine.shell("cd /etc/hearthlink/credentials; mv ../home.key cloud; chown root:root cloud; chmod 600 cloud")
        service.run_with(gateway(cloud_port, KEY))


def commands(judge, machine, phone):
    """By the phone outside."""
    with judge.claim("toast, by a phone outside") as seen:
        for word in ("ON", "OFF"):
            begun = time.monotonic()
            outcome = phone.command("toaster", {"state": word})
            assert outcome["status"] == "applied", outcome
            seen.append(f"{word} {outcome['status']} after {time.monotonic() - begun:.2f} s")
            phone.wait_for_field("hearthlink/home/toaster", "state", word)
    with judge.claim("what is not allowed is refused") as seen:
        outcome = phone.command("toaster", {"browning": 6})
        assert outcome["status"] == "refused", outcome
        seen.append(outcome["reason"])
    with judge.claim("under its sandbox it switches a GPIO line, and the kernel has that level") as seen:
        for word, level in (("ON", "hi"), ("OFF", "lo"), ("ON", "hi")):
            outcome = phone.command("pump", {"state": word})
            assert outcome["status"] == "applied", outcome
            line = machine.shell("grep -w out /sys/kernel/debug/gpio || cat /sys/kernel/debug/gpio").strip()
            assert re.search(rf"\bout {level}\b", line), line
            seen.append(f"{word}: {' '.join(line.split())}")


def buses(judge, machine, service, phone):
    """What is plugged in, and what is in the air."""
    with judge.claim("a serial adapter is plugged in: read") as seen:
        seen.append(serial_adapter(machine, phone))
    with judge.claim("it is pulled out: told as offline") as seen:
        mark = phone.mark()
        machine.monitor("device_del", id="adapter")
        phone.wait_for("offline", lambda at, text: at.endswith("/cellar/availability") and text == "offline", mark)
        seen.append(service.device("cellar").get("fault"))
    with judge.claim("it is plugged in again: read again, by itself") as seen:
        seen.append(serial_adapter(machine, phone))
    with judge.claim("it may speak to BlueZ, which has no adapter") as seen:
        machine.shell("modprobe bluetooth; systemctl start bluetooth")

        def no_adapter():
            faults = [bus["fault"] or "" for bus in service.status().get("buses", [])]
            return next((fault for fault in faults if "no Bluetooth adapter" in fault), None)

        seen.append(eventually("it says that there is no adapter", no_adapter))
    with judge.claim("an adapter is there: an advertisement is a reading at the cloud") as seen:
        seen.append(radio(machine, phone))


def listening(machine):
    """Where the machine listens, which is nowhere but on loopback."""
    doors = [line.split()[3] for line in machine.do("ss", "-ltnH").splitlines()]
    assert doors and all(door.startswith(("127.", "[::1]")) for door in doors), doors
    return f"listens on {', '.join(sorted(doors))}"


def serial_adapter(machine, phone):
    """Plugs one in, and has the device at its other end say something that nobody has said before."""
    value = random.randrange(-2000, 8000) / 100
    machine.monitor("device_add", driver="usb-serial", id="adapter", chardev="serial", serial="LAB", bus="usb.0")
    mark, begun = phone.mark(), time.monotonic()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(machine.folder / "serial"))

        def see():
            # What comes before the port is open is lost, as on a real line.
            line.sendall(json.dumps({"temperature": value}).encode() + b"\n")
            time.sleep(0.5)
            return any(has(text, "temperature", value) for at, text, _ in phone.since(mark) if at == "hearthlink/home/cellar")

        eventually(f"{value} °C at the cloud", see)
    return f"{value} °C {time.monotonic() - begun:.1f} s after the plug"


def radio(machine, phone):
    """Brings a virtual adapter, on a serial line as a Pi's is, and devices in its reach; one of them says something new."""
    value = random.randrange(-2000, 8000) / 100
    machine.shell(
        "modprobe hci_uart; mkfifo /run/radio; systemd-run --quiet --unit=radio -p Environment=PYTHONPATH=/opt/bumble"
        " sh -c 'exec python3 -Bu /mnt/tests/thermometers.py 1000 pty:/run/radio-line <> /run/radio';"
        "until [ -e /run/radio-line ]; do sleep 0.5; done; systemd-run --quiet --unit=line btattach -B /run/radio-line -P h4"
    )
    begun = time.monotonic()
    machine.shell("cat > /run/radio", text=json.dumps({"attic": value}) + "\n")
    phone.wait_for_field("hearthlink/home/attic", "temperature", value)
    return f"{value} °C {time.monotonic() - begun:.0f} s after the radio was started"


if __name__ == "__main__":
    main()
