"""The power cut under load, and the comparison of everybody's histories after it."""

import json
import signal
import time
from collections import Counter

from judge import PATIENCE, eventually

# What may be on its way to the cloud at a time, and so be told twice after a cut: `cloud.window`.
WINDOW = 64
# Readings a second, and how many of them there are before a cut.
RATE, READINGS = 40, 100
# The first reading of each life of the machine is a multiple of this.
LIFE = 1_000_000


class Histories:
    """What everybody saw, over all lives of the machine."""

    def __init__(self, machine, phone):
        self.machine, self.phone = machine, phone
        self.lives, self.acked, self.ran, self.asked = 0, set(), [], {}
        self.begin()

    def begin(self):
        """Those at home are at work from the first moment: who is late would not see a command that runs once more."""
        first = LIFE * self.lives
        self.lives += 1
        self.machine.shell(f"systemd-run --quiet --unit=household python3 -Bu /mnt/tests/household.py {first} {RATE}")

    def now(self, word):
        """What those at home have said in this life that begins so."""
        lines = [line.partition(" ") for _, line in self.machine.household.all()]
        return [rest for first, _, rest in lines if first == word]

    def end(self):
        """The power is gone; gives how many readings were acknowledged in this life."""
        acked = self.now("acked")
        self.acked |= set(map(int, acked))
        self.ran += self.now("ran")
        return len(acked)

    def told(self):
        """The meter's numbers, as they came to the cloud."""
        topic = "hearthlink/home/sensors/load"
        return [json.loads(payload)["n"] for at, payload, _ in self.phone.since() if at == topic]

    def ends(self, number):
        """How this command ended: what the cloud was told, each message once, and no answer to a repetition."""
        results = [json.loads(text) for at, text, _ in self.phone.since() if at == "hearthlink/home/fan/result"]
        ours = [result for result in results if result["id"] == number and not result.get("duplicate")]
        return list({result["message_id"]: result["status"] for result in ours}.values())

    def runs(self, word):
        return (self.ran + self.now("ran")).count(word)


def lose_power(judge, machine, service, histories, cloud, lot):
    """One power cut under load, and what is left after it. Of two cuts one comes while the cloud says nothing."""
    phone, cut = histories.phone, histories.lives
    is_silent = cut % 2 == 0
    with judge.claim(f"power cut {cut}, {'while the cloud says nothing' if is_silent else 'amid commands'}") as seen:
        eventually("the household is at work", lambda: len(histories.now("acked")) > READINGS)
        if is_silent:
            cloud.child.send_signal(signal.SIGSTOP)
            before = len(histories.now("acked"))
            eventually("a backlog grows", lambda: len(histories.now("acked")) > before + 3 * READINGS)
        else:
            before = len(histories.now("ran"))
            for number in range(6):
                word = f"order-{cut}-{number}"
                histories.asked[word] = phone.ask("fan", {"state": word})
            eventually("the fan is at its second order", lambda: len(histories.now("ran")) >= before + 2)
        time.sleep(lot.random())
        held, lost, flushes = machine.lose_power()
        seen.append(f"{histories.end()} readings acknowledged, {flushes} flushes")
        seen.append(f"{held} pages written and not flushed, {lost} of them lost")
    if is_silent:
        cloud.child.send_signal(signal.SIGCONT)
    with judge.claim("it boots again, the file system recovers, the service is there by itself") as seen:
        seen.append(f"{machine.boot():.0f} s")
        histories.begin()
        eventually("the service is active", lambda: service.show("ActiveState") == "active", 4 * PATIENCE)
        service.wait_online()
        seen.append(recovery(machine))
    with judge.claim("every reading that was acknowledged at home is at the cloud") as seen:
        try:
            eventually("all of them", lambda: histories.acked <= set(histories.told()))
        except TimeoutError:
            lost = histories.acked - set(histories.told())
            raise AssertionError(f"{len(lost)} of {len(histories.acked)} are lost, the last one {max(lost)}") from None
        told = histories.told()
        again = len(told) - len(set(told))
        assert again <= WINDOW * cut, f"{again} were told again"
        seen.append(f"{len(histories.acked)} acknowledged until now, 0 lost, {again} told twice")
    with judge.claim("every command has one outcome, none ran twice, one was interrupted") as seen:
        # Those of the cuts before, too: what ran late would be seen now.
        seen.append(commands(histories))


def commands(histories):
    """Compares how each command ended with how often it ran; gives the sums."""
    asked = histories.asked
    eventually("an outcome of each", lambda: all(histories.ends(number) for number in asked.values()))
    sums = Counter()
    for word, number in asked.items():
        ends, times = histories.ends(number), histories.runs(word)
        assert len(ends) == 1, f"{word} ended as {ends}"
        least, most = {"applied": (1, 1), "unknown": (0, 1)}.get(ends[0], (0, 0))
        assert least <= times <= most, f"{word} is {ends[0]} and ran {times} times"
        sums[ends[0], times] += 1
    assert sums["unknown", 1], "no command was interrupted"
    return ", ".join(f"{count} {end} and ran {times}×" for (end, times), count in sorted(sums.items()))


def recovery(machine):
    """What the file system's journal says of the last power cut."""
    said = machine.shell("cat /run/initramfs/fsck.log || true; journalctl -b -o cat | grep -E 'EXT4-fs|fsck' || true")
    line = next((line for line in said.splitlines() if "recover" in line), None)
    assert line, f"nothing was recovered: {said}"
    return line.strip()
