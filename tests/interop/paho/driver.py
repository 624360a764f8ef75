"""paho-mqtt as clients of the local broker: does what it is told, one JSON order a line, and says what happens.

Orders and news are described in tests/interop/home_clients/words.rs. It judges nothing: the Rust side does.
Run it with Debian's Python, whose paho-mqtt is the one under test (python3-paho-mqtt, 1.6).
"""

import json
import queue
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 30
VERSIONS = {3: mqtt.MQTTv31, 4: mqtt.MQTTv311, 5: mqtt.MQTTv5}

# Name in words.rs, name in paho, and how the value is written: as it is, or bytes in hexadecimal.
NAMES = [
    ("content_type", "ContentType", False),
    ("response_topic", "ResponseTopic", False),
    ("correlation", "CorrelationData", True),
    ("expiry", "MessageExpiryInterval", False),
    ("format", "PayloadFormatIndicator", False),
]

stdout = threading.Lock()


def say(**news):
    with stdout:
        print(json.dumps(news), flush=True)


def outgoing(given, kind):
    """What words.rs calls properties, as paho's."""
    made = Properties(kind)
    for name, theirs, is_binary in NAMES:
        if name in given:
            setattr(made, theirs, bytes.fromhex(given[name]) if is_binary else given[name])
    if given.get("user"):
        made.UserProperty = [tuple(pair) for pair in given["user"]]
    return made


def incoming(properties):
    """paho's properties, as words.rs wants them."""
    found = {}
    for name, theirs, is_binary in NAMES:
        value = getattr(properties, theirs, None)
        if value is not None:
            found[name] = value.hex() if is_binary else value
    found["user"] = getattr(properties, "UserProperty", [])
    found["identifiers"] = getattr(properties, "SubscriptionIdentifier", [])
    return found


class Client:
    """One connection, and what it waits for."""

    def __init__(self, name, order):
        self.name = name
        self.version = order["version"]
        self.answers = queue.Queue(maxsize=100)
        clean = {} if self.version == 5 else {"clean_session": order["clean"]}
        self.paho = mqtt.Client(
            order["id"],
            protocol=VERSIONS[self.version],
            transport="websockets" if order["transport"] in ("ws", "wss") else "tcp",
            reconnect_on_failure=False,
            **clean,
        )
        self.paho.on_connect = lambda _c, _u, flags, code, *_: self.answers.put(
            ("connect", int(getattr(code, "value", code)), bool(flags["session present"]))
        )
        self.paho.on_subscribe = lambda _c, _u, _mid, granted, *_: self.answers.put(
            ("subscribe", [int(getattr(code, "value", code)) for code in granted])
        )
        self.paho.on_unsubscribe = lambda *_: self.answers.put(("unsubscribe",))
        self.paho.on_disconnect = lambda *_: self.answers.put(("disconnect",))
        self.paho.on_message = self.heard
        if order.get("user") is not None:
            self.paho.username_pw_set(order["user"], order.get("password"))
        if order["transport"] in ("ws", "wss"):
            self.paho.ws_set_options(path="/mqtt")
        if order["transport"] in ("tls", "wss"):
            self.paho.tls_set(ca_certs=order["ca"])
        if will := order.get("will"):
            self.paho.will_set(will["topic"], bytes.fromhex(will["payload"]), will["qos"], will["retain"])

    def heard(self, _client, _data, message):
        say(
            client=self.name,
            message={
                "topic": message.topic,
                "payload": message.payload.hex(),
                "qos": message.qos,
                "retain": bool(message.retain),
                "properties": incoming(message.properties) if self.version == 5 else {},
            },
        )

    def wait(self, what):
        answer = self.answers.get(timeout=PATIENCE)
        if answer[0] != what:
            raise RuntimeError(f"waited for {what}, and got {answer}")
        return answer[1:]

    def connect(self, order):
        options = {}
        if self.version == 5:
            properties = Properties(PacketTypes.CONNECT)
            if order.get("session_expiry") is not None:
                properties.SessionExpiryInterval = order["session_expiry"]
            options = {"clean_start": order["clean"], "properties": properties}
        self.paho.connect("127.0.0.1", order["port"], keepalive=60, **options)
        self.paho.loop_start()
        code, present = self.wait("connect")
        if code != 0:
            self.paho.loop_stop()
        return {"code": code, "session_present": present}

    def subscribe(self, order):
        if self.version != 5:
            self.paho.subscribe(order["filter"], order["qos"])
        else:
            options = SubscribeOptions(order["qos"], order["no_local"], order["retain_as_published"])
            properties = Properties(PacketTypes.SUBSCRIBE)
            if order.get("identifier") is not None:
                properties.SubscriptionIdentifier = order["identifier"]
            self.paho.subscribe(order["filter"], options=options, properties=properties)
        (granted,) = self.wait("subscribe")
        return {"code": granted[0]}

    def unsubscribe(self, order):
        self.paho.unsubscribe(order["filter"])
        self.wait("unsubscribe")
        return {}

    def publish(self, order):
        properties = outgoing(order["properties"], PacketTypes.PUBLISH) if self.version == 5 else None
        payload = bytes.fromhex(order["payload"])
        sent = self.paho.publish(order["topic"], payload, order["qos"], order["retain"], properties)
        finish(sent)
        return {}

    def burst(self, order):
        sent = [
            self.paho.publish(order["topic"], str(number), order["qos"]) for number in range(order["count"])
        ]
        for one in sent:
            finish(one)
        return {}

    def disconnect(self, _order):
        self.paho.disconnect()
        self.wait("disconnect")
        self.paho.loop_stop()
        return {}


def finish(sent):
    sent.wait_for_publish(PATIENCE)
    if not sent.is_published():
        raise RuntimeError("a publish was not acknowledged")


def main():
    clients = {}
    for line in sys.stdin:
        order = json.loads(line)
        name, what = order["client"], order["do"]
        try:
            if what == "connect":
                clients[name] = Client(name, order)
            say(n=order["n"], **getattr(clients[name], what)(order))
        except Exception as error:  # whatever went wrong is the test's to judge
            say(n=order["n"], failed=f"{type(error).__name__}: {error}")


main()
