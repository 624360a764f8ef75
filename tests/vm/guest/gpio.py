"""The trial of GPIO: a chip of the kernel's gpio-sim, wired by the judge.

The judge reads an output's level in sysfs, where gpio-sim shows it, and every level that was ever set in the kernel's
trace (events/gpio), which the program cannot know of. He moves an input by its `pull`.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from house import LAN, Cloud, Gateway, Phone, Watcher, has, publish
from judge import PATIENCE, Judge, eventually

LINES = 54
# The kernel numbers lines downwards from 512 (ARCH_NR_GPIOS); there is one chip.
BASE = 512 - LINES
RELAY, PUMP, UP, DOWN, HEATER, DOOR, METER = 17, 18, 22, 23, 24, 27, 5
FAN, LAMP, CONTACT = 9, 11, 10
# After which silence the gateway's own watchdog makes outputs safe, in seconds.
WATCHDOG = 10

DEVICES = f"""\
devices:
  - id: relay
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, pin: {RELAY} }}
  # A relay board that switches when low; frost would harm what it heats, so it is safe when it is on.
  - id: pump
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, line: PUMP, active_low: true, safe: on }}
  - id: up
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, pin: {UP}, interlock: [down] }}
  - id: down
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, pin: {DOWN}, interlock: [up] }}
  - id: heater
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, pin: {HEATER}, max_on: 3s }}
  - id: door
    kind: gpio_input
    options: {{ chip: {{ label: lab }}, pin: {DOOR}, pull: up, active_low: true, debounce: 20ms }}
  - id: meter
    kind: gpio_counter
    options: {{ chip: {{ label: lab }}, pin: {METER}, every: 1s }}
  - id: fan
    kind: gpio_pwm
    options: {{ chip: {{ label: lab }}, pin: {FAN}, frequency: 20 }}
  - id: lamp
    kind: gpio_pwm
    options: {{ chip: {{ label: lab }}, pin: {LAMP}, frequency: 20, active_low: true }}
  - id: contact
    kind: gpio_input
    options: {{ chip: {{ label: lab }}, pin: {CONTACT}, debounce: 1ms }}
  # The pump's line by its number, which no check can see.
  - id: double
    kind: gpio_output
    options: {{ chip: {{ label: lab }}, pin: {PUMP} }}
commands:
  allow:
    - {{ device: fan, set: {{ state: [ON, OFF], duty: {{ min: 0, max: 100 }} }} }}
    - {{ device: lamp, set: {{ state: [ON, OFF], duty: {{ min: 0, max: 100 }} }} }}
    - {{ device: double, set: {{ state: [ON, OFF] }} }}
    - {{ device: relay, set: {{ state: [ON, OFF] }} }}
    - {{ device: pump, set: {{ state: [ON, OFF] }} }}
    - {{ device: up, set: {{ state: [ON, OFF] }} }}
    - {{ device: down, set: {{ state: [ON, OFF] }} }}
    - {{ device: heater, set: {{ state: [ON] }} }}
"""


class Board:
    """The chip, seen from the side of the wires."""

    def __init__(self):
        subprocess.run(["mount", "-t", "configfs", "none", "/sys/kernel/config"], check=True)
        subprocess.run(["mount", "-t", "tracefs", "none", "/sys/kernel/tracing"], check=True)
        self.chip = chip = Path("/sys/kernel/config/gpio-sim/lab")
        bank = chip / "bank0"
        for folder in (chip, bank, bank / f"line{PUMP}"):
            folder.mkdir()
        (bank / "num_lines").write_text(str(LINES))
        (bank / "label").write_text("lab")
        (bank / f"line{PUMP}" / "name").write_text("PUMP")
        self.plug()
        self.tracing = Path("/sys/kernel/tracing")
        (self.tracing / "buffer_size_kb").write_text("4096")
        (self.tracing / "events/gpio/enable").write_text("1")

    def plug(self):
        (self.chip / "live").write_text("1")
        device, name = (self.chip / "dev_name").read_text().strip(), (self.chip / "bank0/chip_name").read_text().strip()
        self.lines = Path("/sys/devices/platform") / device / name
        eventually("the chip has a device", Path("/dev", name).exists)

    def pull_out(self):
        (self.chip / "live").write_text("0")

    def level(self, line):
        return int((self.lines / f"sim_gpio{line}" / "value").read_text())

    def wait_level(self, line, level):
        eventually(f"line {line} is {level}", lambda: self.level(line) == level)

    def pull(self, line, level):
        (self.lines / f"sim_gpio{line}" / "pull").write_text("pull-up" if level else "pull-down")

    def pulse(self, line):
        """Up and down again. gpio-sim hands an edge on at the kernel's next tick, and two before that are one: so the
        first is waited for."""
        before = self.interrupts(line)
        self.pull(line, 1)
        eventually(f"the kernel has told of the edge of line {line}", lambda: self.interrupts(line) > before, pause=0.001)
        self.pull(line, 0)

    def interrupts(self, line):
        """How many edges of the line the kernel has told of since it is claimed."""
        found = re.search(rf"^ *\d+: +(\d+) +irq_sim +{line}\b", Path("/proc/interrupts").read_text(), re.MULTILINE)
        return int(found[1])

    def history(self):
        """Every level that was set, as (seconds, line, level), oldest first."""
        events = re.findall(r" (\d+\.\d+): gpio_value: (\d+) set (\d)", (self.tracing / "trace").read_text())
        # A chip that was plugged in again is numbered downwards from where the old one ended.
        return [(float(at), (int(number) - BASE) % LINES, int(level)) for at, number, level in events]

    def levels_since(self, before, line):
        """The levels that a line was set to behind the first `before` of the history."""
        return [level for _, at, level in self.history()[before:] if at == line]


def main():
    judge = Judge()
    folder = Path(tempfile.mkdtemp())
    board = Board()
    Cloud(folder)
    # What nobody drives goes where a bad relay board would leave it: on.
    for line in (RELAY, UP, DOWN, HEATER):
        board.pull(line, 1)
    board.pull(PUMP, 1)
    board.pull(DOOR, 1)
    gateway = Gateway(folder, DEVICES, env={"PATH": "/usr/bin", "HEARTHLINK_LOG": "hearthlink=debug"})
    gateway.wait_online()
    home, phone = Watcher("home", LAN, "#"), Phone()

    def shown(device, field, value, marks):
        home.wait_for_field(f"home/{device}", field, value, marks[0])
        phone.wait_for_field(f"hearthlink/home/{device}", field, value, marks[1])

    def marks():
        return home.mark(), phone.mark()

    def switch(device, word):
        outcome = phone.command(device, {"state": word})
        assert outcome["status"] == "applied", outcome

    def safe():
        for line, level in ((RELAY, 0), (PUMP, 0), (UP, 0), (DOWN, 0), (HEATER, 0)):
            board.wait_level(line, level)

    with judge.claim("at the start every output is driven to its safe state, from the first moment on") as seen:
        safe()
        levels = {}
        for _, line, level in board.history():
            levels.setdefault(line, []).append(level)
        wrong = {line: levels.get(line) for line in (RELAY, PUMP, UP, DOWN, HEATER) if set(levels.get(line, [1])) != {0}}
        assert not wrong, f"these were set to something else: {wrong}"
        seen.append(f"set {levels}")
    with judge.claim("a command from the cloud sets the level, and is told at home and at the cloud") as seen:
        for word, level in (("ON", 1), ("OFF", 0), ("ON", 1)):
            before = marks()
            switch("relay", word)
            assert board.level(RELAY) == level, f"applied is told, and the level is {board.level(RELAY)}"
            shown("relay", "state", word, before)
        seen.append("ON 1, OFF 0, ON 1")
    with judge.claim("an output that is on when low") as seen:
        for word, level in (("OFF", 1), ("ON", 0), ("OFF", 1)):
            switch("pump", word)
            assert board.level(PUMP) == level, f"applied is told, and the level is {board.level(PUMP)}"
        seen.append("OFF 1, ON 0, OFF 1")
    with judge.claim("a command from home sets the level, too") as seen:
        publish(LAN, "home/relay/set", "OFF")
        board.wait_level(RELAY, 0)
        publish(LAN, "home/relay/set", "ON")
        board.wait_level(RELAY, 1)
    with judge.claim("an edge of an input is a message at home and at the cloud") as seen:
        for level, word in ((0, "ON"), (1, "OFF"), (0, "ON")):
            before = marks()
            board.pull(DOOR, level)
            shown("door", "state", word, before)
        seen.append("low ON, high OFF, low ON")
    with judge.claim("a bouncing contact is one change") as seen:
        before = marks()
        for level in (1, 0) * 10 + (1,):
            board.pull(DOOR, level)
        shown("door", "state", "OFF", before)
        board.pull(DOOR, 0)
        shown("door", "state", "ON", before)
        states = [json.loads(text)["state"] for topic, text, _ in home.since(before[0]) if topic == "home/door"]
        assert states == ["OFF", "ON"], states
        seen.append(f"21 edges, then one: {states}")
    with judge.claim("the maximum on-time switches off, and that is told") as seen:
        before = marks()
        switch("heater", "ON")
        board.wait_level(HEATER, 0)
        shown("heater", "state", "OFF", before)
        times = [(at, level) for at, line, level in board.history() if line == HEATER][-2:]
        assert [level for _, level in times] == [1, 0], times
        took = times[1][0] - times[0][0]
        assert took >= 3, f"it was on for {took} s only"
        seen.append(f"on for {took:.3f} s of 3 s")
    with judge.claim("outputs that are interlocked are never on together") as seen:
        switch("up", "ON")
        first = phone.command("down", {"state": "ON"})
        levels = board.level(UP), board.level(DOWN)
        assert levels != (1, 1), levels
        assert (first["status"] == "applied") == (levels == (0, 1)), (first, levels)
        seen.append(f"the second is {first['status']} ({first.get('detail', first.get('reason'))}), levels {levels}")
        switch("up", "OFF")
        switch("down", "ON")
        on = set()
        for _, line, level in board.history():
            if line in (UP, DOWN):
                on = on | {line} if level else on - {line}
                assert len(on) < 2, "the kernel saw both on"
        switch("down", "OFF")
    with judge.claim("a thousand pulses are counted, and counted once") as seen:
        for _ in range(1000):
            board.pulse(METER)

        def thousand(topic, text):
            return topic == "home/meter" and any(value == 1000 for value in json.loads(text).values())
        seen.append(home.wait_for("1000 pulses", thousand))
        phone.wait_for("1000 pulses", lambda topic, text: thousand(topic.removeprefix("hearthlink/"), text))
    with judge.claim("edges in bursts: the newest level is told, and none is dropped") as seen:
        for turn in range(30):
            mark = home.mark()
            for level in (1, 0) * 20 + (turn % 2,):
                board.pull(CONTACT, level)
            if turn % 2:
                home.wait_for("on", lambda topic, text: topic == "home/contact" and has(text, "state", "ON"), mark)
            # Longer than the debouncing, so that bursts stay apart.
            time.sleep(0.05)
        states = [json.loads(text)["state"] for topic, text, _ in home.since() if topic == "home/contact"]
        assert states[-1] == "ON", states[-5:]
        assert not gateway.says("too fast")
        seen.append(f"30 bursts of 41 edges, {len(states)} messages, the last {states[-1]}")
    with judge.claim("a part of the time is a waveform, and off is a steady level") as seen:
        for device, line, off in (("fan", FAN, 0), ("lamp", LAMP, 1)):
            for duty in (30, 70):
                before = len(board.history())
                outcome = phone.command(device, {"duty": duty})
                assert outcome["status"] == "applied", outcome
                eventually(f"{device} goes up and down", lambda: len(board.levels_since(before, line)) > 20)
                levels = board.levels_since(before, line)
                # The two levels by turns, whatever the first was.
                assert all(one != other for one, other in zip(levels[1:], levels[2:])), levels
                times = [(at, level) for at, where, level in board.history()[before:] if where == line]
                highs = sorted(end - start for (start, level), (end, _) in zip(times[1:], times[2:]) if level)
                seen.append(f"{device} {duty} %: high for {1000 * highs[len(highs) // 2]:.1f} of 50 ms")
            switch(device, "OFF")
            assert board.level(line) == off, f"{device} is off, and its level {board.level(line)}"
            before = len(board.history())
            time.sleep(0.5)
            assert board.levels_since(before, line) == [], "it goes on"
    with judge.claim("a line by its name and by its number has one owner") as seen:
        outcome = phone.command("double", {"state": "ON"})
        assert outcome["status"] == "failed" and "`pump`" in json.dumps(outcome), outcome
        seen.append(outcome.get("detail", outcome.get("reason")))
    with judge.claim("the whole program stands still: its outputs are safe as soon as it goes on, and that is told") as seen:
        switch("relay", "ON")
        os.kill(gateway.pid, signal.SIGSTOP)
        try:
            time.sleep(WATCHDOG + 2)
            level, mark = board.level(RELAY), home.mark()
        finally:
            os.kill(gateway.pid, signal.SIGCONT)
        board.wait_level(RELAY, 0)
        home.wait_for("the watchdog", lambda topic, text: topic == "home/relay" and has(text, "cause", "watchdog"), mark)
        assert gateway.says("is stuck")
        gateway.wait_online()
        switch("relay", "ON")
        seen.append(f"stopped {level}, then 0, and it obeys again")
    with judge.claim("kill -9: the level stays where the hardware leaves it, and the next start restores the safe state") as seen:
        # The watchdog made everything safe. The relay is on, and so the wire keeps it when nobody drives it any more; the
        # pump is off.
        switch("pump", "OFF")
        assert (board.level(RELAY), board.level(PUMP)) == (1, 1)
        gateway.end(signal.SIGKILL)
        after = board.level(RELAY), board.level(PUMP)
        gateway.start()
        gateway.wait_online()
        safe()
        seen.append(f"relay and pump after the kill {after}, after the start {(board.level(RELAY), board.level(PUMP))}")
    home, phone = Watcher("home", LAN, "#"), Phone()
    with judge.claim("the count is kept over the kill") as seen:
        board.pulse(METER)
        seen.append(home.wait_for("1001 pulses", lambda topic, text: topic == "home/meter" and any(
            value == 1001 for value in json.loads(text).values())))
    with judge.claim("the chip goes, and comes back with its outputs safe and its inputs heard") as seen:
        switch("relay", "ON")
        mark = home.mark()

        def availability(word):
            home.wait_for(word, lambda topic, text: topic == "home/relay/availability" and text == word, mark)

        board.pull_out()
        first = phone.command("relay", {"state": "OFF"})
        assert first["status"] == "unknown", first
        availability("offline")
        second = phone.command("relay", {"state": "ON"})
        assert second["status"] == "failed", second
        mark = home.mark()
        board.plug()
        availability("online")
        home.wait_for("off", lambda topic, text: topic == "home/relay" and has(text, "cause", "start"), mark)
        board.wait_level(RELAY, 0)
        switch("relay", "ON")
        assert board.level(RELAY) == 1
        # By its bias it may be high or low now.
        for _ in range(2):
            level = 1 - board.level(DOOR)
            before = marks()
            board.pull(DOOR, level)
            shown("door", "state", "OFF" if level else "ON", before)
        seen.append(f"meanwhile {first['status']}, then {second['status']}: {second.get('detail', second.get('reason'))}")
    with judge.claim("a stop sets the safe state before it lets go") as seen:
        switch("relay", "ON")
        switch("pump", "OFF")
        before = len(board.history())
        code = gateway.end()
        assert code == 0, f"exit code {code}"
        last = {line: level for _, line, level in board.history()[before:]}
        assert (last.get(RELAY), last.get(PUMP)) == (0, 0), f"the last levels that the kernel was told: {last}"
        seen.append(f"the last that the kernel was told: relay {last[RELAY]}, pump {last[PUMP]}")
    with judge.claim("no task of it panicked"):
        assert not gateway.says("panicked")

    judge.versions()
    judge.finish([gateway.log])


if __name__ == "__main__":
    main()
