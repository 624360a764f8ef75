"""How long a message is on its way: a reading to the phone, an order to the device."""

import struct
import threading
import time

import house
import mqtt

RATE, READINGS, ORDERS = 1_000, 4_000, 600
BODY = 64


def stamp():
    return b"%020d" % time.monotonic_ns()


def since(payload):
    """Milliseconds since a payload was made."""
    return (time.monotonic_ns() - int(payload[:20])) / 1e6


def percentiles(samples, *which):
    ordered = sorted(samples)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * one / 100))] for one in which]


class Stream(threading.Thread):
    """A device that publishes at a pace, until it is stopped or has sent so many."""

    def __init__(self, port, rate=RATE, count=None, topic="sensors/paced"):
        super().__init__(daemon=True)
        self.client, self.rate, self.most, self.topic = mqtt.Client(port, f"paced-{topic[-9:]}"), rate, count, topic
        self.sent, self.acknowledged, self.is_over = 0, 0, False
        threading.Thread(target=self.acknowledgements, daemon=True).start()

    def acknowledgements(self):
        rest = 0
        try:
            while data := self.client.socket.recv(1 << 16):
                whole, rest = divmod(rest + len(data), 4)
                self.acknowledged += whole
        except OSError:
            pass

    def body(self):
        return stamp() + b"%09d" % self.sent + b"x" * (BODY - 29)

    def run(self):
        begin = time.monotonic()
        while not self.is_over and self.sent != self.most:
            due = begin + self.sent / self.rate
            while (now := time.monotonic()) < due:
                time.sleep(min(due - now, 0.0005))
            try:
                self.client.send(mqtt.publish(self.topic, self.body(), 1, self.sent % 65_535 + 1))
            except OSError:
                return
            self.sent += 1


def telemetry(peer, cloud):
    phone = cloud.phone(filters=["hearthlink/home/sensors/paced"])
    stream, samples = Stream(peer.port, count=READINGS + RATE), []
    wait_for_line(peer, cloud)
    stream.start()
    while len(samples) < READINGS + RATE:
        samples.append(since(mqtt.parts(phone.expect(3), 0)[2]))
    middle, most, extreme = percentiles(samples[RATE:], 50, 99, 99.9)
    return {"p50, ms": middle, "p99, ms": most, "p99.9, ms": extreme}


def command(peer, cloud, loaded):
    device = mqtt.Client(peer.port, "toaster", ["order/#"], 1)
    wait_for_line(peer, cloud)
    load = Stream(peer.port) if loaded else None
    if load:
        load.start()
        time.sleep(1)
    samples = orders(cloud.phone("finger"), device, "hearthlink/home/order/toast")
    if load:
        load.is_over = True
    middle, most = percentiles(samples, 50, 99)
    return {"p50, ms": middle, "p99, ms": most}


def orders(phone, device, topic):
    """One after the other, QoS 1 all the way."""
    samples = []
    for number in range(1, ORDERS + 1):
        phone.send(mqtt.publish(topic, stamp(), 1, number))
        _, name, payload = mqtt.parts(device.expect(3), 1)
        samples.append(since(payload))
        device.send(b"\x40\x02" + name)
        phone.expect(4)
        time.sleep(0.003)
    return samples[ORDERS // 6 :]


def floor(cloud):
    """The same without a gateway: what the cloud and this machine take."""
    device = cloud.phone("device", ["hearthlink/home/order/#"], 1)
    middle, most = percentiles(orders(cloud.phone("finger"), device, "hearthlink/home/order/toast"), 50, 99)
    return {"p50, ms": middle, "p99, ms": most}


def wait_for_line(peer, cloud):
    phone = cloud.phone("early", ["hearthlink/home/sensors/early"])
    phone.socket.settimeout(0.1)
    device = mqtt.Client(peer.port, "early")

    def comes():
        device.send(mqtt.publish("sensors/early", b"x", 1))
        try:
            return phone.read()
        except TimeoutError:
            return False

    house.until(comes, mqtt.PATIENCE, "the line")
    phone.close()
    device.close()
    time.sleep(0.5)


def number_of(payload):
    return int(payload[20:29])


def acknowledgement(name):
    return b"\x40\x02" + (name if isinstance(name, bytes) else struct.pack(">H", name))
