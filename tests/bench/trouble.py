"""A line that breaks, and a gateway that is killed: what is lost, what comes twice, how long it takes."""

import signal
import threading
import time

import house
import latency
import mqtt

OUTAGE, RATE, KEPT = 20, 1_000, 10_000


class Watcher:
    """Everything that reaches the phone on one topic, in order, with its time."""

    def __init__(self, cloud, topic):
        self.numbers, self.times = [], []
        self.client = cloud.phone("watcher", [topic], 1)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while True:
                _, name, payload = mqtt.parts(self.client.expect(3), 1)
                self.times.append(time.monotonic())
                self.numbers.append(latency.number_of(payload))
                self.client.send(latency.acknowledgement(name))
        except (OSError, EOFError):
            pass

    def verdict(self, expected):
        """Lost of so many, those that came again, and those that came behind a later one for the first time."""
        seen, highest, again, behind = set(), -1, 0, 0
        for number in self.numbers:
            if number in seen:
                again += 1
                continue
            seen.add(number)
            behind += number < highest
            highest = max(highest, number)
        return {"lost": expected - len(seen), "twice": again, "out of order": behind}


def outage(peer, cloud, line, how):
    """`how`: `refuse` or `swallow`."""
    watcher = Watcher(cloud, "hearthlink/home/sensors/paced")
    latency.wait_for_line(peer, cloud)
    stream = latency.Stream(peer.port, RATE)
    stream.start()
    time.sleep(3)
    memory = house.status(peer.processes, "VmHWM")
    line.say(how)
    time.sleep(OUTAGE)
    healed, so_far = time.monotonic(), len(watcher.numbers)
    line.say("pass")
    house.until(lambda: len(watcher.numbers) > so_far, 120, "the first message after the outage")
    first = watcher.times[so_far] - healed
    # Drained: what was sent half a second ago has come.
    house.until(lambda: watcher.numbers[-1] >= stream.sent - RATE // 2, 240, "the backlog")
    drained = time.monotonic() - healed
    stream.is_over = True
    time.sleep(0.2)
    settle(watcher, stream)
    grown = (house.status(peer.processes, "VmHWM") - memory) / 1024
    return {"first, s": first, "drained, s": drained, "grown, MiB": grown} | watcher.verdict(stream.sent)


def kill(peer, cloud, line):
    """`kill -9` in an outage with so many acknowledged."""
    watcher = Watcher(cloud, "hearthlink/home/sensors/paced")
    latency.wait_for_line(peer, cloud)
    line.say("refuse")
    time.sleep(0.5)
    stream = latency.Stream(peer.port, 20_000, KEPT)
    stream.start()
    house.until(lambda: stream.acknowledged >= KEPT, 60, f"the acknowledgements ({stream.acknowledged})")
    for process in peer.processes:
        house.end(process, signal.SIGKILL)
    peer.start()
    line.say("pass")
    latency.wait_for_line(peer, cloud)
    settle(watcher, stream)
    return watcher.verdict(KEPT) | {"of": KEPT}


def settle(watcher, stream):
    """Until all has come or nothing comes any more."""
    last, moved = len(watcher.numbers), time.monotonic()
    while len(set(watcher.numbers)) < stream.sent and time.monotonic() < moved + 8:
        time.sleep(0.2)
        if len(watcher.numbers) > last:
            last, moved = len(watcher.numbers), time.monotonic()
