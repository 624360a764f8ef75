"""Hearthlink's broker, running for a laboratory: the real program, on ports that the kernel gave.

What the suites want of a broker and the standard leaves to it is set here, and nothing else: a longest
keep-alive of a minute (Paho), and the user whom mqtt5-conformance logs in as.
"""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("HEARTHLINK", ROOT / "target" / "debug" / "hearthlink")).resolve()

CONFIGURATION = """\
gateway: {{ id: lab, data_dir: data }}
broker:
  listeners:
    - {{ address: "127.0.0.1:{port}"{acl} }}
    - {{ address: "127.0.0.1:{web_socket}", transport: websocket }}
  users:
    # The password is `secret`.
    - name: testuser
      password_hash: "$argon2id$v=19$m=19456,t=2,p=1$M0SeY8TZYBQPLxQsTDCcZQ$piheP4GWpaz4ZCNBVwzGnSbqqKXbm1HGeGrYIYVXof0"
  limits: {{ longest_keep_alive: 60s }}
"""


def free_ports(count):
    """Ports that nobody uses now."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Broker:
    """Runs from `with` to its end; `acl` is what clients without a name may do, in YAML."""

    def __init__(self, acl=None):
        self.acl = f", acl: {acl}" if acl else ""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="hearthlink-lab-")
        self.port, self.web_socket = free_ports(2)
        file = Path(self.directory.name) / "lab.yaml"
        ports = {"port": self.port, "web_socket": self.web_socket}
        file.write_text(CONFIGURATION.format(acl=self.acl, **ports))
        self.log = open(Path(self.directory.name) / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [PROGRAM, "run", "--config", file], cwd=self.directory.name, stdout=self.log, stderr=self.log
        )
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.log.seek(0)
                    message = self.log.read()
                    self.__exit__()
                    raise SystemExit(f"the broker did not start:\n{message}") from None
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()
