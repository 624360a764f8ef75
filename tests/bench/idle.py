"""A house in which nothing happens: memory, wake-ups, processor, the line; and what idle devices cost."""

import time

import house
import latency
import mqtt

SETTLE, MINUTE, CLIENTS = 12, 60, 1_000


def run(peer, cloud, line):
    latency.wait_for_line(peer, cloud)
    time.sleep(SETTLE)
    before = house.wakeups(peer.processes), house.seconds_of_processor(peer.processes), line.count()
    # Two keep-alives of 45 s or 60 s are in it, and a half.
    length = 2.5 * MINUTE
    time.sleep(length)
    minutes = length / MINUTE
    figures = {
        "resident, MiB": house.status(peer.processes, "VmRSS") / 1024,
        "of that its own, MiB": house.status(peer.processes, "RssAnon") / 1024,
        "threads": house.status(peer.processes, "Threads"),
        "wake-ups a minute": (house.wakeups(peer.processes) - before[0]) / minutes,
        "processor, ms a minute": 1000 * (house.seconds_of_processor(peer.processes) - before[1]) / minutes,
        "line, bytes an hour": (line.count() - before[2]) * 60 / minutes,
    }
    memory = house.status(peer.processes, "VmRSS")
    clients = [mqtt.Client(peer.port, f"idle-{number}") for number in range(CLIENTS)]
    time.sleep(2)
    figures["KB for each of 1,000 idle clients"] = (house.status(peer.processes, "VmRSS") - memory) * 1.024 / CLIENTS
    for client in clients:
        client.close()
    return figures


def start(make, cloud):
    """From the program's start to the first message at the phone, in ms; what was tried until then may be lost."""
    phone = cloud.phone("early", ["hearthlink/home/sensors/early"])
    phone.socket.settimeout(0.001)
    begin = time.monotonic()
    peer = make()
    device = mqtt.Client(peer.port, "early")

    def comes():
        device.send(mqtt.publish("sensors/early", b"x", 1))
        try:
            return phone.read()
        except TimeoutError:
            return False

    house.until(comes, mqtt.PATIENCE, "the first message")
    return {"start to first message, ms": 1000 * (time.monotonic() - begin)}
