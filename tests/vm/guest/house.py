"""The house of a trial: the cloud, the gateway and those who watch.

The cloud is Debian's Mosquitto over wss with client certificates, as in tests/interop; watchers and phones are its
clients. Nothing here reads Hearthlink's own files but its log, and that only to show it. A trial that runs outside the
machine has its cloud and its phone there, too, and gives them ports of its own.
"""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

from judge import PATIENCE, eventually

PROGRAM = Path("/mnt/program/hearthlink")
# The machine is ours alone: no port is anybody else's.
LAN, WEB, CLOUD, PHONE = 1883, 8080, 8443, 1884

MOSQUITTO = """\
user root
per_listener_settings true
log_dest stderr
listener {CLOUD} 127.0.0.1
socket_domain ipv4
protocol websockets
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
listener {PHONE} 127.0.0.1
allow_anonymous true
"""

GATEWAY = """\
gateway: {{ id: home, data_dir: {folder}/data }}
web: {{ address: "127.0.0.1:{WEB}" }}
broker: {{ listeners: [{{ address: "127.0.0.1:{LAN}" }}] }}
cloud:
  url: wss://localhost:{CLOUD}/mqtt
  ca_file: {folder}/ca.pem
  certificate_file: {folder}/home.pem
  key_file: {folder}/home.key
  backoff: {{ first: 200ms, longest: 1s, stable_after: 60s }}
"""


class Process:
    """A program of the trial; what it says goes to its log."""

    def __init__(self, name, command, folder, **options):
        self.name, self.command, self.options = name, command, options
        self.log = folder / f"{name}.log"
        self.child = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, stdout=log, stderr=log, **self.options)

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def says(self, text):
        return text in self.log.read_text(errors="replace")

    def end(self, how=signal.SIGTERM):
        """Sends it the signal and gives its exit code."""
        self.child.send_signal(how)
        return self.child.wait(PATIENCE)


class Cloud(Process):
    """Mosquitto; makes the certificates of itself and of the gateway."""

    def __init__(self, folder, port=CLOUD, phones=PHONE):
        authority(folder)
        config = folder / "mosquitto.conf"
        config.write_text(MOSQUITTO.format(folder=folder, CLOUD=port, PHONE=phones))
        super().__init__("mosquitto", ["mosquitto", "-c", str(config)], folder)
        eventually("the cloud listens", lambda: self.says(" running"))


class Gateway(Process):
    """The real program with `rest` of its configuration: devices and commands."""

    def __init__(self, folder, rest, **options):
        config = folder / "hearthlink.yaml"
        config.write_text(GATEWAY.format(folder=folder, LAN=LAN, WEB=WEB, CLOUD=CLOUD) + rest)
        command = [str(PROGRAM), "run", "--config", str(config)]
        super().__init__("hearthlink", command, folder, **options)

    def status(self):
        """What the status page says, or nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{WEB}/api/status", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return {}

    def wait_online(self):
        def see():
            if not self.is_running():
                raise RuntimeError(f"the gateway ended: {self.log.read_text(errors='replace')[-2000:]}")
            return self.status().get("link", {}).get("state") == "online"

        eventually("the line to the cloud is up", see)


class Watcher:
    """Somebody who is subscribed: `mosquitto_sub`, and all that it was told, in order."""

    def __init__(self, name, port, *topics):
        self.name, self.messages, self.lock = name, [], threading.Lock()
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-F", "%r %t %p"]
        for topic in topics:
            command += ["-t", topic]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        # Every broker here keeps it, so whoever was told it is subscribed.
        self.wait_for("the gateway's own state", lambda topic, _: topic.endswith("/bridge/state"))

    def _read(self):
        for line in self.child.stdout:
            retained, topic, payload = (line.rstrip("\n").split(" ", 2) + [""])[:3]
            with self.lock:
                self.messages.append((topic, payload, retained == "1"))

    def mark(self):
        """The place behind all that was told until now."""
        with self.lock:
            return len(self.messages)

    def since(self, mark=0):
        with self.lock:
            return self.messages[mark:]

    def wait_for(self, what, wanted, mark=0):
        """Waits for a message behind `mark` that `wanted(topic, payload)` takes, and gives its payload."""

        def see():
            return [payload for topic, payload, _ in self.since(mark) if wanted(topic, payload)]

        try:
            return eventually(f"{self.name} sees {what}", see)[0]
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the last it saw: {self.since(mark)[-3:]}") from None

    def wait_for_field(self, topic, field, value, mark=0):
        """Waits until the JSON state at `topic` has this field with this value (numbers: within a thousandth)."""
        return self.wait_for(f"{field} = {value} at {topic}", lambda at, payload: at == topic and has(payload, field, value), mark)


def has(payload, field, value):
    try:
        seen = json.loads(payload)[field]
    except (ValueError, KeyError, TypeError):
        return False
    if isinstance(value, float) and isinstance(seen, (int, float)) and not isinstance(seen, bool):
        return abs(seen - value) < 0.001
    return seen == value


def publish(port, topic, payload):
    """A phone or a hand at home publishes, QoS 1."""
    subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", topic, "-m", payload],
        check=True, timeout=PATIENCE,
    )


class Phone(Watcher):
    """Sees all that the gateway tells the cloud, and commands through it."""

    def __init__(self, port=PHONE):
        super().__init__("the phone", port, "hearthlink/#")
        self.port = port

    def ask(self, device, fields):
        """Asks for `fields`, and gives the command's id."""
        number = os.urandom(4).hex()
        publish(self.port, f"hearthlink/home/{device}/set", json.dumps({"id": number, **fields}))
        return number

    def command(self, device, fields):
        """Asks for `fields` and gives the outcome that it is told."""
        mark = self.mark()
        number = self.ask(device, fields)
        outcome = self.wait_for(
            f"the outcome of {fields} for {device}",
            lambda topic, payload: topic.endswith("/result") and has(payload, "id", number),
            mark,
        )
        return json.loads(outcome)


def authority(folder):
    """A CA, a certificate for `localhost` and one for the client `home`."""

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True, timeout=PATIENCE)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "30")
    for name, subject, usage in (("server", "localhost", "serverAuth"), ("home", "home", "clientAuth")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        extensions = folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{subject}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", f"{name}.ext", "-days", "30", "-out", f"{name}.pem")
        (folder / f"{name}.key").chmod(0o600)
