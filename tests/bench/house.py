"""What every round begins with: certificates, Debian's Mosquitto as the cloud, and processes that end with it."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import mqtt

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


class Folder:
    """A directory of a round, and the processes in it: gone when it is left, however."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="hearthlink-bench-"))
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            end(process)
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, *command, **options):
        log = open(self.path / f"{Path(command[0]).name}-{len(self.processes)}.log", "wb")
        process = subprocess.Popen(
            [str(part) for part in command], cwd=self.path, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
        )
        log.close()
        self.processes.append(process)
        return process

    def write(self, name, content, mode=0o600):
        file = self.path / name
        file.write_text(content)
        file.chmod(mode)
        return file

    def openssl(self, command):
        subprocess.run(["openssl", *command.split()], cwd=self.path, check=True, capture_output=True)

    def certificates(self):
        self.openssl(f"req -x509 {CURVE} -keyout ca.key -out ca.pem -days 30 -subj /CN=bench")
        self.write("names", "subjectAltName=DNS:localhost\n")
        for name in ("cloud", "home"):
            self.openssl(f"req {CURVE} -keyout {name}.key -out {name}.csr -subj /CN={name}")
            signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names"
            self.openssl(f"x509 -req -in {name}.csr {signing} -out {name}.pem")
            (self.path / f"{name}.key").chmod(0o600)


def end(process, how=signal.SIGTERM):
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


CLOUD = """user root
allow_anonymous true
persistence false
log_type error
max_inflight_messages 2000
max_queued_messages 0
set_tcp_nodelay true
listener {wss} 127.0.0.1
protocol websockets
{tls_options}
listener {tls} 127.0.0.1
{tls_options}
listener {plain} 127.0.0.1
"""


class Cloud:
    """Debian's Mosquitto: wss and TLS for gateways, plain TCP for the phone, which is not what is measured."""

    def __init__(self, folder):
        self.folder = folder
        self.wss, self.tls, self.plain = (mqtt.free_port() for _ in range(3))
        options = "cafile ca.pem\ncertfile cloud.pem\nkeyfile cloud.key\nrequire_certificate true"
        text = CLOUD.format(wss=self.wss, tls=self.tls, plain=self.plain, tls_options=options)
        folder.write("cloud.conf", text)
        self.process = folder.start(MOSQUITTO, "-c", "cloud.conf")
        mqtt.dial(self.plain).close()

    def phone(self, name="phone", filters=(), qos=0):
        return mqtt.Client(self.plain, name, filters, qos)


def seconds_of_processor(processes):
    """User and system time, in seconds; a clock tick is 10 ms."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def status(processes, field):
    """A sum over processes of a field of /proc/PID/status, in its own unit (KiB for sizes)."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
    return total


def wakeups(processes):
    """Voluntary context switches of all threads so far."""
    total = 0
    for process in processes:
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def written(processes):
    """Bytes on their way to the disk so far."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return total


def until(condition, limit, what):
    finish = time.monotonic() + limit
    while not condition():
        if time.monotonic() > finish:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(0.002)
