"""The trial of Bluetooth: a real bluetoothd, a virtual controller, and devices that the judge sets.

Every value that is waited for was made up in this run, just before, so that nothing but the way from the device can
bring it. It is read at the local broker and at the cloud, by mosquitto_sub.
"""

import json
import random
import re
import signal
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from house import LAN, Cloud, Gateway, Phone, Process, Watcher
from judge import PATIENCE, Judge, eventually
from thermometers import ATTIC, BIND_KEY, BOILER, CELLAR

# The watchdog is quicker here than by default, so that the trial does not wait for minutes.
DEVICES = f"""\
devices:
  - id: attic
    kind: bthome
    options: {{ address: "{ATTIC}", watchdog: 10s }}
  - id: cellar
    kind: bthome
    options: {{ address: "{CELLAR}", bind_key: "{BIND_KEY}" }}
  - id: boiler
    kind: ble_gatt
    options:
      address: "{BOILER}"
      characteristics:
        - {{ field: temperature, service: 181a, uuid: 2a6e, type: i16le, scale: 0.01, notify: true }}
        - {{ field: setpoint, uuid: fff1, type: i16le, scale: 0.01, writable: true }}
commands:
  allow:
    - {{ device: boiler, set: {{ setpoint: {{ min: 0, max: 90 }} }} }}
"""


class Radio:
    """The adapter and the devices in reach; `thermometers.py`."""

    lives = 0

    def __init__(self, folder):
        self.log = folder / "radio.log"
        self.lines, self.lock = [], threading.Lock()
        self.start()

    def start(self):
        # The counter of encrypted advertisements never goes back, as that of a real device does not.
        Radio.lives += 1
        program = Path(__file__).with_name("thermometers.py")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                ["python3", "-u", str(program), str(1000 * Radio.lives)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        mark = len(self.lines)
        threading.Thread(target=self._read, args=(self.child.stdout,), daemon=True).start()
        self.wait_for("ready", mark)

    def _read(self, stdout):
        for line in stdout:
            with self.lock, open(self.log, "a") as log:
                self.lines.append(line.strip())
                log.write(line)

    def mark(self):
        return len(self.lines)

    def wait_for(self, text, mark=0):
        def see():
            if self.child.poll() is not None:
                raise RuntimeError(f"the radio ended: {self.log.read_text()[-1500:]}")
            with self.lock:
                return text in self.lines[mark:]

        eventually(f"the radio says `{text}`", see)

    def set(self, **values):
        self.child.stdin.write(json.dumps(values) + "\n")
        self.child.stdin.flush()

    def pull_out(self):
        """As if somebody pulled the dongle: the kernel's end of it closes."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(PATIENCE)


def adapters():
    return [path.name for path in Path("/sys/class/bluetooth").glob("hci*") if ":" not in path.name]


def is_offline(device):
    return lambda topic, text: topic == f"{device}/availability" and text == "offline"


def celsius():
    """A temperature that nobody has had in this run."""
    while (value := random.randrange(-2000, 8000) / 100) in celsius.had:
        pass
    celsius.had.add(value)
    return value


celsius.had = set()


def ask(destination, path, *question):
    """What somebody on the system bus answers."""
    command = ["dbus-send", "--system", "--print-reply", f"--dest={destination}", path, *question]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout


def is_connected(address):
    """Whether bluetoothd says so, on whichever adapter."""
    objects = ask("org.bluez", "/", "org.freedesktop.DBus.ObjectManager.GetManagedObjects")
    paths = set(re.findall(rf"/org/bluez/hci\d+/dev_{address.replace(':', '_')}(?=\")", objects))
    question = "org.freedesktop.DBus.Properties.Get", "string:org.bluez.Device1", "string:Connected"
    return any("boolean true" in ask("org.bluez", path, *question) for path in paths)


def start_bluetoothd(folder):
    daemon = Process("bluetoothd", ["/usr/libexec/bluetooth/bluetoothd", "-n"], folder)
    bus = "org.freedesktop.DBus"
    eventually("bluetoothd is on the bus", lambda: "org.bluez" in ask(bus, "/", f"{bus}.ListNames"))
    return daemon


def main():
    judge = Judge()
    folder = Path(tempfile.mkdtemp())
    Path("/run/dbus").mkdir(exist_ok=True)
    Process("dbus", ["dbus-daemon", "--system", "--nofork"], folder)
    eventually("the system bus is there", Path("/run/dbus/system_bus_socket").exists)
    bluetoothd = start_bluetoothd(folder)
    radio = Radio(folder)
    Cloud(folder)
    gateway = Gateway(folder, DEVICES, env={"PATH": "/usr/bin", "HEARTHLINK_LOG": "hearthlink=debug"})
    gateway.wait_online()
    home, phone = Watcher("home", LAN, "#"), Phone()

    def reaches_both(device, seen):
        """A value of this device, made up now, is told at home and at the cloud."""
        value = celsius()
        marks = home.mark(), phone.mark()
        radio.set(**{device: value})
        state = home.wait_for_field(f"home/{device}", "temperature", value, marks[0])
        phone.wait_for_field(f"hearthlink/home/{device}", "temperature", value, marks[1])
        seen.append(f"{value} °C")
        return state

    def all_reach_both(seen):
        for device in ("attic", "cellar", "boiler"):
            reaches_both(device, seen)

    with judge.claim("an advertisement (BTHome) is a reading at home and at the cloud") as seen:
        state = json.loads(reaches_both("attic", seen))
        assert state["battery"] == 87, f"the battery: {state}"
        seen.append(f"whole: {state}")
    with judge.claim("so is one that is encrypted") as seen:
        reaches_both("cellar", seen)
    with judge.claim("a GATT notification is a reading at home and at the cloud") as seen:
        reaches_both("boiler", seen)
    with judge.claim("a command from the cloud writes a characteristic") as seen:
        value, mark = round(random.uniform(10, 90), 2), radio.mark()
        outcome = phone.command("boiler", {"setpoint": value})
        assert outcome["status"] == "applied", outcome
        radio.wait_for(f"written {struct.pack('<h', round(value * 100)).hex()}", mark)
        seen.append(f"{value}: {radio.lines[-1]}")
    with judge.claim("a command that is not allowed writes nothing") as seen:
        mark = radio.mark()
        outcome = phone.command("boiler", {"setpoint": 95})
        assert outcome["status"] == "refused", outcome
        assert not any(line.startswith("written") for line in radio.lines[mark:]), radio.lines[mark:]
        seen.append(f"{outcome['status']}: {outcome.get('reason')}")

    with judge.claim("the adapter is pulled out: the connected device is told to be offline") as seen:
        marks = home.mark(), phone.mark()
        radio.pull_out()
        eventually("the kernel has no adapter", lambda: not adapters())
        home.wait_for("offline", is_offline("home/boiler"), marks[0])
        phone.wait_for("offline", is_offline("hearthlink/home/boiler"), marks[1])
        devices = gateway.status().get("devices", [])
        seen.append("; ".join(str(device.get("fault")) for device in devices if device.get("id") == "boiler"))
    with judge.claim("the adapter is back: all is heard again, by itself") as seen:
        radio.start()
        all_reach_both(seen)
    with judge.claim("the adapter is pulled out and back at once") as seen:
        radio.pull_out()
        radio.start()
        all_reach_both(seen)
    with judge.claim("bluetoothd is killed and started again: all is heard again") as seen:
        bluetoothd.end(signal.SIGKILL)
        bluetoothd = start_bluetoothd(folder)
        all_reach_both(seen)
    with judge.claim("bluetoothd is away for a while: told as offline, and heard again when it is back") as seen:
        mark = home.mark()
        bluetoothd.end()
        try:
            home.wait_for("offline", is_offline("home/boiler"), mark)
        finally:
            bluetoothd = start_bluetoothd(folder)
        all_reach_both(seen)
    with judge.claim("somebody switches the adapter off: it is switched on again") as seen:
        subprocess.run(["bluetoothctl", "power", "off"], check=True, capture_output=True, timeout=PATIENCE)
        all_reach_both(seen)
    with judge.claim("the same gateway all the while, without a restart of it or a panic") as seen:
        assert gateway.is_running() and not gateway.says("panicked"), "it ended, or a task of it panicked"
        seen.append(f"process {gateway.pid}")
    with judge.claim("the gateway is killed (kill -9) and started again: all is heard again") as seen:
        gateway.end(signal.SIGKILL)
        gateway.start()
        gateway.wait_online()
        home, phone = Watcher("home", LAN, "#"), Phone()
        all_reach_both(seen)
    with judge.claim("it stops in order, and bluetoothd gives the connection up"):
        assert is_connected(BOILER)
        code = gateway.end()
        assert code == 0, f"exit code {code}"
        # By what bluetoothd says: with this kernel bumble's side is told nothing of it.
        eventually("the boiler is not connected", lambda: not is_connected(BOILER))

    judge.versions({"bluez": ["/usr/libexec/bluetooth/bluetoothd", "--version"]})
    judge.finish([gateway.log, bluetoothd.log, radio.log])


if __name__ == "__main__":
    main()
