"""Hearthlink beside what a person could use instead; see docs/benchmarks.md and `--help`."""

import argparse
import os
import platform
import subprocess
import sys
import time

import figures
import house
import idle
import latency
import load
import peers
import trouble
from line import Line

# Each gets a peer that has just begun, and the cloud; `delay` is the proxy's, in ms each way, `None`: no proxy.
WORKLOADS = {
    "qos1": (None, lambda peer, cloud, line: load.run(peer, cloud, 1)),
    "qos0": (None, lambda peer, cloud, line: load.run(peer, cloud, 0)),
    "qos1-50ms": (25, lambda peer, cloud, line: load.run(peer, cloud, 1)),
    "telemetry": (None, lambda peer, cloud, line: latency.telemetry(peer, cloud)),
    "command": (None, lambda peer, cloud, line: latency.command(peer, cloud, False)),
    "command-loaded": (None, lambda peer, cloud, line: latency.command(peer, cloud, True)),
    "kill": (0, trouble.kill),
    "refused": (0, lambda peer, cloud, line: trouble.outage(peer, cloud, line, "refuse")),
    "swallowed": (0, lambda peer, cloud, line: trouble.outage(peer, cloud, line, "swallow")),
    "start": (None, None),
    "idle": (0, idle.run),
}
BRIEF = ["qos1", "qos0", "telemetry", "command", "kill"]


def once(workload, kind):
    """One round of one peer, in a folder of its own."""
    delay, run = WORKLOADS[workload]
    with house.Folder() as folder:
        folder.certificates()
        cloud = house.Cloud(folder)
        ways = {"wss": cloud.wss, "tls": cloud.tls}
        line = None
        if delay is not None:
            line = Line(folder, ways[kind.transport], delay)
            ways[kind.transport] = line.port
        if run is None:
            return idle.start(lambda: kind(folder, ways), cloud)
        return run(kind(folder, ways), cloud, line)


def floors(table):
    with house.Folder() as folder:
        folder.certificates()
        table.add("floor", "the cloud alone", latency.floor(house.Cloud(folder)))
        file = os.open(folder.path / "sync", os.O_CREAT | os.O_WRONLY)
        samples = []
        for _ in range(300):
            os.write(file, b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(file)
            samples.append(1000 * (time.perf_counter() - begin))
        os.close(file)
        middle, most = latency.percentiles(samples, 50, 99)
        table.add("floor", "fdatasync of 4 KiB", {"p50, ms": middle, "p99, ms": most})


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS) + "; none: all")
    parser.add_argument("--rounds", type=int, default=5, help="of each, all peers in turns (5)")
    parser.add_argument("--brief", action="store_true", help="one round of some, of Hearthlink and the bridge")
    parser.add_argument("--hearthlink", required=True, metavar="PROGRAM", help="an optimised build")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    peers.Hearthlink.program = os.path.abspath(options.hearthlink)
    rounds = 1 if options.brief else options.rounds
    kinds = peers.ALL[:2] if options.brief else peers.ALL
    table = figures.Table(peers.Hearthlink.name)
    for number in range(rounds):
        for workload in options.workloads or (BRIEF if options.brief else list(WORKLOADS)):
            for kind in kinds:
                print(f"round {number + 1} of {rounds}: {workload}, {kind.name}", file=sys.stderr, flush=True)
                try:
                    table.add(workload, kind.name, once(workload, kind))
                except (TimeoutError, EOFError, OSError, RuntimeError) as error:
                    table.fail(workload, kind.name, error)
        floors(table)
    print(header(rounds))
    print(table.text())
    return table.verdict()


def header(rounds):
    says = [
        subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0].strip()
        for command in ([peers.Hearthlink.program, "--version"], [house.MOSQUITTO, "-h"])
    ]
    return f"{says[0]} and {says[1]}, {platform.machine()}, {os.cpu_count()} processors, {rounds} rounds in turns\n"


if __name__ == "__main__":
    sys.exit(main())
