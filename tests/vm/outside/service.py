"""The service that the trial installs: its configuration, and what others see of it.

Nothing of Hearthlink's own files is read; what it says of itself is its status page, what systemd and the kernel say of it
is the rest.
"""

import json
import re

from judge import PATIENCE, eventually
from machine import HOST

SERVICE = "hearthlink.service"
CONFIG = "/etc/hearthlink/config.yaml"
# As in thermometers.py, whose imports are in the machine only.
ATTIC = "A4:C1:38:00:00:01"
# Where systemd puts `credentials/cloud`.
KEY = f"/run/credentials/{SERVICE}/secret_cloud"
PORT = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_LAB-if00-port0"

GATEWAY = """\
gateway: {{ id: home }}
web: {{ address: "127.0.0.1:8080" }}
cloud:
  url: wss://{HOST}:{cloud}/mqtt
  server_name: localhost
  ca_file: ca.pem
  certificate_file: home.pem
  key_file: {key}
  backoff: {{ first: 1s, longest: 5s, stable_after: 60s }}
routes:
  - local: sensors/#
"""

DEVICES = f"""\
devices:
  - id: toaster
    kind: toaster
  - id: fan
    kind: lan
    options: {{ state_topic: fan/state, command_topic: fan/set, confirm_within: 30s }}
  - id: pump
    kind: gpio_output
    options: {{ chip: /dev/gpiochip0, pin: 1 }}
  - id: cellar
    kind: serial_line
    options: {{ port: {PORT} }}
  - id: attic
    kind: bthome
    options: {{ address: "{ATTIC}" }}
commands:
  allow:
    - {{ device: toaster, set: {{ state: [ON, OFF] }} }}
    - {{ device: fan, set: {{ state: any }} }}
    - {{ device: pump, set: {{ state: [ON, OFF] }} }}
"""

MANY = "devices:\n" + "".join(
    f"  - {{ id: plug{number}, kind: lan, options: {{ state_topic: plug/{number}/state, command_topic: plug/{number}/set }} }}\n"
    for number in range(200)
)


def gateway(cloud, key):
    """The file without devices: the cloud's port, and where its key is."""
    return GATEWAY.format(HOST=HOST, cloud=cloud, key=key)


class Service:
    """Hearthlink in the machine, as systemd, its status page and the kernel show it."""

    def __init__(self, machine):
        self.machine = machine

    def show(self, name):
        return self.machine.do("systemctl", "show", "--value", "-p", name, SERVICE).strip()

    def status(self):
        try:
            return json.loads(self.machine.do("curl", "-fsS", "http://127.0.0.1:8080/api/status"))
        except (RuntimeError, ValueError):
            return {}

    def wait_online(self):
        def see():
            if self.show("ActiveState") == "failed":
                raise RuntimeError(self.log())
            return self.status().get("link", {}).get("state") == "online"

        eventually("the line to the cloud is up", see, 4 * PATIENCE, 0.5)

    def device(self, name):
        return next((device for device in self.status().get("devices", []) if device["id"] == name), {})

    def resident(self):
        """Its memory in MiB: what is resident, and how much of that is its own."""
        text = self.machine.do("cat", f"/proc/{self.show('MainPID')}/status")
        size = {name: int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024 for name in ("VmRSS", "RssAnon")}
        return f"{size['VmRSS']:.1f} MiB, of which {size['RssAnon']:.1f} MiB are its own"

    def took_to_start(self):
        """Seconds from the program's start to READY=1."""
        begun, ready = (int(self.show(f"{name}TimestampMonotonic")) for name in ("ExecMainStart", "ActiveEnter"))
        return f"{(ready - begun) / 1e6:.2f} s"

    def log(self):
        return self.machine.do("journalctl", "-u", SERVICE, "-n", "20", "-o", "cat")

    def configure(self, text):
        """Saves its file; what it makes of that is its own affair."""
        self.machine.write(CONFIG, text, "640", "root:hearthlink")

    def run_with(self, text):
        """Has it run by this file, with a line to the cloud."""
        self.configure(text)
        self.machine.do("systemctl", "restart", SERVICE)
        self.wait_online()
