"""As many messages as go through: ten devices, each with a hundred unacknowledged (QoS 1), or 2,000 between device and
phone at most (QoS 0), so that none is lost for want of room."""

import selectors
import struct
import threading
import time

import house
import mqtt

DEVICES, WINDOW, PAYLOAD, TOPICS = 10, 100, 64, 10
ON_THE_WAY = 2_000


class Counter:
    """Counts at the phone, in a thread of its own, by a marker in each payload."""

    def __init__(self, client, mark):
        self.count, self.client, self.mark = 0, client, mark
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        rest = b""
        while data := self.client.socket.recv(1 << 18):
            data = rest + data
            self.count += data.count(self.mark)
            at = data.rfind(self.mark)
            # What may be the beginning of another one.
            rest = data[max(at + len(self.mark) if at >= 0 else 0, len(data) - len(self.mark) + 1) :]


class Devices:
    def __init__(self, port, qos, mark):
        self.qos, self.sent, self.acknowledged = qos, 0, 0
        self.clients = [mqtt.Client(port, f"device-{number}") for number in range(DEVICES)]
        body = (mark + b"x" * PAYLOAD)[:PAYLOAD]
        names = [[f"sensors/{device}/{topic}" for topic in range(TOPICS)] for device in range(DEVICES)]
        whole = [[mqtt.publish(name, body, qos) for name in of_one] for of_one in names]
        self.heads = [[packet[: -PAYLOAD - 2] for packet in of_one] for of_one in whole] if qos else whole
        self.body, self.turn = body, [0] * DEVICES

    def batch(self, device, count):
        first, heads = self.turn[device], self.heads[device]
        self.turn[device] += count
        self.sent += count
        numbers = range(first, first + count)
        if not self.qos:
            return b"".join(heads[number % TOPICS] for number in numbers)
        pack, body = struct.Struct(">H").pack, self.body
        return b"".join(heads[number % TOPICS] + pack(number % 65_535 + 1) + body for number in numbers)


def at_least_once(devices, duration):
    """Publishes for so long; returns when all is acknowledged."""
    selector, open_, rests = selectors.DefaultSelector(), [0] * DEVICES, [0] * DEVICES
    finish, limit = time.monotonic() + duration, time.monotonic() + duration + 4 * mqtt.PATIENCE

    def send(device):
        room = WINDOW - open_[device]
        if room >= WINDOW // 4 and time.monotonic() < finish:
            open_[device] += room
            devices.clients[device].send(devices.batch(device, room))

    for device, client in enumerate(devices.clients):
        selector.register(client.socket, selectors.EVENT_READ, device)
        send(device)
    while devices.acknowledged < devices.sent or time.monotonic() < finish:
        if time.monotonic() > limit:
            raise TimeoutError(f"{devices.sent - devices.acknowledged} publishes are not acknowledged")
        for key, _ in selector.select(1):
            device = key.data
            # Nothing but PUBACKs of four bytes comes here.
            whole, rests[device] = divmod(rests[device] + len(key.fileobj.recv(1 << 16)), 4)
            open_[device] -= whole
            devices.acknowledged += whole
            send(device)


def at_most_once(devices, duration, arrived):
    finish = time.monotonic() + duration
    while time.monotonic() < finish:
        if devices.sent - arrived() >= ON_THE_WAY - 20 * DEVICES:
            time.sleep(0.0003)
            continue
        for device, client in enumerate(devices.clients):
            client.send(devices.batch(device, 20))


def run(peer, cloud, qos, duration=4):
    """Figures by name; `lost` is what never came."""
    mark = mqtt.marker()
    counter = Counter(cloud.phone(filters=["hearthlink/home/sensors/#"]), mark)
    warm_up(peer, counter, mark)
    devices = Devices(peer.port, qos, mark)
    before = house.seconds_of_processor(peer.processes), house.written(peer.processes)
    begin, seen = time.monotonic(), counter.count
    if qos:
        at_least_once(devices, duration)
    else:
        at_most_once(devices, duration, lambda: counter.count - seen)
    last, moved = counter.count, time.monotonic()
    # Until all has come, or nothing comes any more.
    while counter.count - seen < devices.sent and time.monotonic() < moved + 5:
        time.sleep(0.005)
        if counter.count > last:
            last, moved = counter.count, time.monotonic()
    arrived, took = counter.count - seen, moved - begin
    processor = house.seconds_of_processor(peer.processes) - before[0]
    thousands = max(arrived, 1) / 1000
    return {
        "messages/s": arrived / took,
        "processor, ms for 1,000": 1000 * processor / thousands,
        "memory at most, MiB": house.status(peer.processes, "VmHWM") / 1024,
        "written, bytes each": (house.written(peer.processes) - before[1]) / max(arrived, 1),
        "lost": max(devices.sent - arrived, 0),
    }


def warm_up(peer, counter, mark):
    """The line is up when something comes through."""
    first = mqtt.Client(peer.port, "first")

    def comes():
        first.send(mqtt.publish("sensors/first", mark, 1))
        time.sleep(0.05)
        return counter.count > 0

    house.until(comes, mqtt.PATIENCE, "the first message")
    last = -1
    while last != counter.count:
        last = counter.count
        time.sleep(0.3)
    first.close()
