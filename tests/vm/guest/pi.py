"""The trial of the Raspberry Pi: the Pi's own registers, driven by the real program through rppal.

The judge reads the levels where the kernel's own driver of the chip shows them (debugfs, pinctrl-bcm2835), and once
more in the registers. QEMU cannot move an input of its Pi; inputs are `gpio.py`'s.
"""

import mmap
import os
import re
import signal
import struct
import tempfile
from pathlib import Path

from house import Cloud, Gateway, Phone
from judge import Judge, eventually

RELAY, PUMP, HEATER = 17, 27, 22

DEVICES = f"""\
devices:
  - id: relay
    kind: gpio_output
    options: {{ pin: {RELAY} }}
  - id: pump
    kind: gpio_output
    options: {{ pin: {PUMP}, active_low: true, safe: on }}
  - id: heater
    kind: gpio_output
    options: {{ pin: {HEATER}, max_on: 3s }}
commands:
  allow:
    - {{ device: relay, set: {{ state: [ON, OFF] }} }}
    - {{ device: pump, set: {{ state: [ON, OFF] }} }}
    - {{ device: heater, set: {{ state: [ON, OFF] }} }}
"""

# BCM2835 ARM Peripherals, section 6.1; a Pi 3 has them here.
REGISTERS, SELECT, LEVEL = 0x3F20_0000, 0x00, 0x34


class Board:
    """The chip as others see it."""

    def __init__(self):
        self.pins = next(Path("/sys/kernel/debug/pinctrl").glob("*gpio*/pins"))
        self.memory = mmap.mmap(os.open("/dev/mem", os.O_RDONLY | os.O_SYNC), 4096, mmap.MAP_SHARED, mmap.PROT_READ,
                                offset=REGISTERS)

    def seen(self, pin):
        """What the kernel's driver says of it: `gpio_out`, `lo`."""
        line = next(line for line in self.pins.read_text().splitlines() if re.match(rf"pin {pin} ", line))
        return re.search(r"function (\w+) in (\w+)", line).groups()

    def register(self, pin):
        """Whether it is an output, and its level, by the registers."""
        (select,) = struct.unpack_from("<I", self.memory, SELECT + 4 * (pin // 10))
        (level,) = struct.unpack_from("<I", self.memory, LEVEL)
        return select >> 3 * (pin % 10) & 7 == 1, level >> pin & 1

    def is_output(self, pin, level):
        return self.seen(pin) == ("gpio_out", "hi" if level else "lo") and self.register(pin) == (True, level)

    def wait_output(self, pin, level):
        eventually(f"pin {pin} is driven to {level}", lambda: self.is_output(pin, level))


def main():
    judge = Judge()
    folder = Path(tempfile.mkdtemp())
    board = Board()
    Cloud(folder)
    before = {pin: board.seen(pin) for pin in (RELAY, PUMP, HEATER)}
    gateway = Gateway(folder, DEVICES)
    gateway.wait_online()
    phone = Phone()

    def switch(device, word):
        outcome = phone.command(device, {"state": word})
        assert outcome["status"] == "applied", outcome

    def safe():
        for pin in (RELAY, PUMP, HEATER):
            board.wait_output(pin, 0)

    def all_seen():
        return {pin: board.seen(pin) for pin in (RELAY, PUMP, HEATER)}

    with judge.claim("at the start every output is driven to its safe state") as seen:
        safe()
        seen.append(f"{before} became {all_seen()}")
    with judge.claim("a command from the cloud sets the output's level") as seen:
        for device, pin, word, level in (
            ("relay", RELAY, "ON", 1), ("relay", RELAY, "OFF", 0), ("relay", RELAY, "ON", 1),
            ("pump", PUMP, "OFF", 1), ("pump", PUMP, "ON", 0), ("pump", PUMP, "OFF", 1),
        ):
            switch(device, word)
            assert board.is_output(pin, level), f"{device} {word}: {board.seen(pin)}, {board.register(pin)}"
        seen.append(str(all_seen()))
    with judge.claim("the maximum on-time switches off") as seen:
        switch("heater", "ON")
        board.wait_output(HEATER, 0)
        phone.wait_for_field("hearthlink/home/heater", "state", "OFF")
    with judge.claim("kill -9: the levels stay as they were, and the next start restores the safe state") as seen:
        gateway.end(signal.SIGKILL)
        seen.append(f"after the kill {all_seen()}")
        assert board.is_output(RELAY, 1) and board.is_output(PUMP, 1), all_seen()
        gateway.start()
        gateway.wait_online()
        safe()
        seen.append(f"after the start {all_seen()}")
    with judge.claim("a stop leaves the outputs in their safe state") as seen:
        phone = Phone()
        switch("relay", "ON")
        switch("pump", "OFF")
        code = gateway.end()
        assert code == 0, f"exit code {code}"
        safe()
        seen.append(str(all_seen()))
    judge.versions()
    judge.finish([gateway.log])


if __name__ == "__main__":
    main()
