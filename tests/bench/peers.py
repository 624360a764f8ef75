"""What is compared: each a gateway between a home port and the cloud, set up as a careful person would.

All have the same topics: `sensors/#` goes out below `hearthlink/home/`, `hearthlink/home/order/#` comes in as
`order/#`. Our line is wss, with a client certificate, as is the relay's; the bridge knows no WebSockets: TLS.
"""

import sys
from pathlib import Path

import mqtt
from house import MOSQUITTO

HERE = Path(__file__).resolve().parent


class Peer:
    """A gateway that runs; `port` is the home's, `processes` are what it costs."""

    def __init__(self, folder, ways):
        """`ways`: the ports by which the cloud is reached, by transport."""
        self.folder, self.ways, self.port = folder, ways, mqtt.free_port()
        self.prepare()
        self.start()

    def prepare(self):
        raise NotImplementedError

    def start(self):
        """Starts it, also again after it was killed."""
        raise NotImplementedError


class Hearthlink(Peer):
    name, transport, program = "Hearthlink", "wss", None
    CONFIGURATION = """gateway: {{id: home, data_dir: data}}
broker: {{listeners: [{{address: "127.0.0.1:{port}"}}], limits: {{max_clients: 2000, max_clients_per_address: 2000, max_sessions: 2000}}}}
web: {{address: "127.0.0.1:{page}"}}
cloud:
  url: wss://localhost:{cloud}/mqtt
  ca_file: ca.pem
  certificate_file: home.pem
  key_file: home.key
routes: [{{local: "sensors/#"}}]
routes_in: [{{cloud: "{{prefix}}/{{gateway}}/order/#", local: "order/{{1}}"}}]
"""

    def prepare(self):
        values = dict(port=self.port, page=mqtt.free_port(), cloud=self.ways["wss"])
        self.folder.write("home.yaml", self.CONFIGURATION.format(**values))

    def start(self):
        self.processes = [self.folder.start(self.program, "run", "--config", "home.yaml")]


class Bridge(Peer):
    """Debian's Mosquitto with its bridge. `autosave_on_changes` counts changes, without it seconds are counted."""

    name, transport, saving = "Mosquitto, saves each second", "tls", "autosave_interval 1\nautosave_on_changes false"
    CONFIGURATION = """user root
allow_anonymous true
persistence true
persistence_location {folder}/
{saving}
log_type error
max_inflight_messages 2000
max_queued_messages 0
set_tcp_nodelay true
listener {port} 127.0.0.1
connection cloud
address localhost:{cloud}
topic sensors/# out 1 "" hearthlink/home/
topic order/# in 1 "" hearthlink/home/
bridge_cafile ca.pem
bridge_certfile home.pem
bridge_keyfile home.key
bridge_protocol_version mqttv311
cleansession false
restart_timeout 1
"""

    def prepare(self):
        values = dict(folder=self.folder.path, saving=self.saving, port=self.port, cloud=self.ways["tls"])
        self.folder.write("home.conf", self.CONFIGURATION.format(**values))

    def start(self):
        self.processes = [self.folder.start(MOSQUITTO, "-c", "home.conf")]


class DurableBridge(Bridge):
    name, saving = "Mosquitto, saves every change", "autosave_interval 1\nautosave_on_changes true"


class Relay(Peer):
    """Mosquitto at home, and a script between it and the cloud."""

    name, transport = "relay script", "wss"

    def prepare(self):
        text = f"user root\nallow_anonymous true\npersistence true\npersistence_location {self.folder.path}/\n"
        text += "autosave_interval 1\nlog_type error\nmax_inflight_messages 2000\nmax_queued_messages 0\n"
        self.folder.write("home.conf", text + f"set_tcp_nodelay true\nlistener {self.port} 127.0.0.1\n")

    def start(self):
        broker = self.folder.start(MOSQUITTO, "-c", "home.conf")
        mqtt.dial(self.port).close()
        relay = self.folder.start(sys.executable, HERE / "relay.py", self.port, self.ways["wss"])
        self.processes = [broker, relay]


ALL = [Hearthlink, Bridge, DurableBridge, Relay]
