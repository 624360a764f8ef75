"""The machine of a trial that is judged from outside: QEMU, its disk that can lose power, and its hand.

The machine's only network is QEMU's user network: it reaches the host's loopback as 10.0.2.2, and nobody reaches it. What
the trial wants done inside, it says to `guest/hand.py` through a virtio port, which is no network either.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from judge import PATIENCE, eventually

# How the machine reaches this one.
HOST = "10.0.2.2"
# An emulated machine with two others' cores needs its time to boot.
BOOT = 8 * PATIENCE


class Said:
    """What comes out of a port of the machine, line by line, with the time when it came."""

    def __init__(self, path):
        self.lines, self.lock = [], threading.Lock()
        self.socket = eventually(f"QEMU opens {path}", lambda: connect(path))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            with self.socket.makefile("r", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    # The last one may have been cut off with the power.
                    if line.endswith("\n"):
                        with self.lock:
                            self.lines.append((time.monotonic(), line.rstrip("\n")))
        except ConnectionError:
            pass

    def all(self):
        with self.lock:
            return list(self.lines)

    def send(self, value):
        self.socket.sendall(json.dumps(value).encode() + b"\n")


def connect(path):
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(str(path))
    except OSError:
        line.close()
        return None
    return line


class Machine:
    """An arm64 machine with the disk `image`, which is changed, and `shared` to look at."""

    def __init__(self, folder, image, kernel, initrd, shared, seed):
        self.folder, self.kernel, self.initrd, self.shared = folder, kernel, initrd, shared
        self.console = folder / "console.log"
        self.child, self.number = None, 0
        program = ["python3", str(Path(__file__).with_name("disk.py"))]
        self.disk = subprocess.Popen(
            [*program, str(image), str(folder / "disk"), str(seed)], stdout=subprocess.PIPE, text=True
        )
        eventually("the disk is there", (folder / "disk").exists)

    def port(self, name):
        path = self.folder / name
        path.unlink(missing_ok=True)
        return [
            "-chardev", f"socket,id={name},path={path},server=on,wait=off",
            "-device", f"virtserialport,chardev={name},name=lab.{name}",
        ]

    def boot(self):
        """Switches it on, and waits until its hand is there; gives how long that took, in seconds."""
        if self.child is not None and self.child.poll() is None:
            self.lose_power()
        begun = time.monotonic()
        for name in ("serial", "monitor"):
            (self.folder / name).unlink(missing_ok=True)
        command = [
            "nice", "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1G",
            "-accel", "tcg,thread=multi", "-display", "none", "-no-reboot",
            "-kernel", str(self.kernel), "-initrd", str(self.initrd),
            "-append", "console=ttyAMA0 root=/dev/vda rw quiet panic=-1 systemd.show_status=0",
            "-serial", f"file:{self.console}",
            "-drive", f"file=nbd:unix:{self.folder / 'disk'},format=raw,if=none,id=card",
            "-device", "virtio-blk-pci,drive=card",
            "-netdev", "user,id=way-out", "-device", "virtio-net-pci,netdev=way-out,romfile=",
            "-virtfs", f"local,path={self.shared},mount_tag=tests,security_model=none,readonly=on",
            "-device", "virtio-rng-pci", "-device", "qemu-xhci,id=usb", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=serial,path={self.folder / 'serial'},server=on,wait=off",
            "-qmp", f"unix:{self.folder / 'monitor'},server=on,wait=off",
            *self.port("hand"), *self.port("household"),
        ]
        with open(self.folder / "qemu.log", "ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.hand, self.household = (Said(self.folder / name) for name in ("hand", "household"))

        def see():
            if self.child.poll() is not None:
                raise RuntimeError(f"QEMU ended: {(self.folder / 'qemu.log').read_text()[-1000:]}")
            return self.hand.all()

        eventually("the machine is up", see, BOOT, 0.2)
        return time.monotonic() - begun

    def start(self, command, text=""):
        """Has a command begun, and gives its number, for `answer`."""
        self.number += 1
        self.hand.send({"number": self.number, "command": command, "input": text})
        return self.number

    def answer(self, number, patience=PATIENCE):
        """The exit code of a command that was begun, and what it said."""

        def see():
            for _, line in self.hand.all():
                answer = json.loads(line)
                if answer.get("number") == number:
                    return answer["code"], answer["said"]
            return None

        return eventually(f"command {number} ends", see, patience)

    def do(self, *command, text="", patience=4 * PATIENCE):
        """What a command in the machine says; one that fails is an error with that."""
        code, said = self.answer(self.start(list(command), text), patience)
        if code != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {code}: {said[-1500:]}")
        return said

    def shell(self, script, **options):
        return self.do("sh", "-ec", script, **options)

    def write(self, path, text, mode="644", owner="root:root"):
        """Puts a file there, whole, and durable."""
        self.shell(
            f"cat > {path}.new; chown {owner} {path}.new; chmod {mode} {path}.new; sync {path}.new; mv {path}.new {path}",
            text=text,
        )

    def monitor(self, order, **arguments):
        """Has QEMU do something to the machine, over QMP."""
        line = connect(self.folder / "monitor")
        with line, line.makefile("rw") as talk:
            for name, words in (("qmp_capabilities", {}), (order, arguments)):
                talk.write(json.dumps({"execute": name, "arguments": words}) + "\n")
                talk.flush()
                while True:
                    answer = json.loads(talk.readline())
                    if "error" in answer:
                        raise RuntimeError(f"{order}: {answer['error']}")
                    if "return" in answer:
                        break
        return answer["return"]

    def lose_power(self):
        """Cuts the power; gives how many pages were not flushed, how many of them are lost, and the flushes before."""
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.wait()
        for said in (self.hand, self.household):
            said.reader.join(PATIENCE)
        return tuple(map(int, self.disk.stdout.readline().split()))
