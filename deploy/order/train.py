#!/usr/bin/env python3
"""Writes down which functions a start and an idle minute call, for the linker to put side by side: deploy/order/first.ld.

    deploy/order/train.py        on a Debian 12 amd64 machine with valgrind, mosquitto, openssl, rustup; five minutes

Of the 17 MB of code that the program has, a start calls 4 MB, which lie scattered. The kernel reads and maps what lies around
a function as well, 64 KiB at a time, so that nearly all of it was resident. deploy/build.sh, with BUILD_ORDERED=yes, hands the result to
the linker (`-T`), which puts these first and the rest behind them. Nothing is left out, and nothing is hidden.

The list is one of names (Rust's v0 mangling, which has the types in it) in which the hashes of crates are wildcards, so that it
holds for every processor and for the next compiler. A name that is gone does no harm, and one that is missing costs what it did
before: make it anew for a release. Looks at an unoptimised link (no LTO), where more functions have a name than in the end.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "target/order"
SCRIPT = REPOSITORY / "deploy/order/first.ld"
# From the start; under valgrind everything takes forty times as long, and the machine is looked at every thirty seconds.
WATCHED = 100
# A longer name is cut: what tells it from others stands before.
LONGEST = 160


def build():
    profile = {"LTO": "off", "CODEGEN_UNITS": "16", "STRIP": "none"}
    environment = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in profile.items()}
    environment |= {"RUSTFLAGS": "-Csymbol-mangling-version=v0", "CARGO_TARGET_DIR": str(TARGET)}
    command = ["cargo", "build", "--release", "--locked", "--no-default-features", "--bin", "hearthlink"]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, check=True)
    return TARGET / "release/hearthlink"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def house(folder):
    """A cloud's and a gateway's configuration, as the package's first page has it with a cloud beside."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        + ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"],
        check=True,
        capture_output=True,
    )
    cloud, home, page = free_port(), free_port(), free_port()
    # It starts with no WebSocket alone.
    (folder / "cloud.conf").write_text(
        f"user root\nallow_anonymous true\npersistence false\nlistener {free_port()} 127.0.0.1\n"
        f"listener {cloud} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n"
        f"certfile {folder}/certificate.pem\nkeyfile {folder}/key.pem\n"
    )
    (folder / "home.yaml").write_text(
        f"gateway: {{id: home, data_dir: {folder}/data}}\nbroker: {{listeners: [{{address: '127.0.0.1:{home}'}}]}}\n"
        f"web: {{address: '127.0.0.1:{page}'}}\n"
        f"cloud: {{url: 'wss://localhost:{cloud}/mqtt', ca_file: {folder}/certificate.pem}}\n"
    )


def called(program, folder):
    """The mangled names of what was called."""
    house(folder)
    cloud = subprocess.Popen(["mosquitto", "-c", folder / "cloud.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(folder / "notify"))
    heard.settimeout(WATCHED)
    environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "60000000"}
    counts = folder / "counts"
    command = ["valgrind", "-q", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={counts}"]
    try:
        time.sleep(1)
        gateway = subprocess.Popen([*command, program, "run", "--config", folder / "home.yaml"], env=environment)
        try:
            while b"STATUS=Everything is working." not in heard.recv(4096):
                pass
            time.sleep(WATCHED)
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait()
    finally:
        cloud.terminate()
        cloud.wait()
    names = re.findall(r"^c?fn=\(\d+\) (.+)$", counts.read_text(errors="replace"), re.MULTILINE)
    return {re.sub(r"'\d+$", "", name) for name in names}


def pattern(name):
    """The name with whatever a compiler, a processor or the optimiser may make another of."""
    name = re.sub(r"\.(llvm|constprop|part|isra|cold)\..*$|\.\d+$", "", name)
    if name.startswith("_R"):
        # Hashes of crates, and places in the name, which depend on their lengths.
        name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)
        name = re.sub(r"B[0-9A-Za-z]*_", "B*_", name)
        return name[:LONGEST].rstrip("*") + "*"
    return name


def main():
    program = build()
    defined = subprocess.run(["nm", "--defined-only", program], check=True, capture_output=True, text=True).stdout
    # One body may have several names, where functions came out the same: whichever its section has.
    functions = [line.split() for line in defined.splitlines() if line.split()[1] in "tTwW"]
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        seen = called(program, folder)
    finally:
        shutil.rmtree(folder)
    places = {place for place, _, name in functions if name in seen}
    names = {name for place, _, name in functions if place in places}
    patterns = sorted({pattern(name) for name in names})
    lines = []
    for one in patterns:
        # What is thought cold (growing a vector, the first time of anything) has sections of another name; C's functions have
        # what the compiler puts behind.
        sections = f".text.{one} .text.unlikely.{one}" if one.endswith("*") else f".text.{one} .text.{one}.*"
        lines.append(f"    *({sections})\n")
    SCRIPT.write_text(
        "/* By deploy/order/train.py: what a start and an idle minute call. */\n"
        "SECTIONS {\n  .text.first : {\n" + "".join(lines) + "  }\n} INSERT BEFORE .text;\n"
    )
    print(f"{len(names)} functions, {len(patterns)} patterns: {SCRIPT.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
