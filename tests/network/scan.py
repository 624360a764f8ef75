"""Knocks at ports and says of each what came of it.

    scan.py ADDRESS[,ADDRESS...] PORT[,PORT...] [UDP-PORT[,UDP-PORT...]]

A line for each port of each address: `ADDRESS tcp PORT open|refused|silent|...`, `ADDRESS udp PORT ...`. Silent
is who has not answered after three seconds: two packets went out by then, because the first is repeated after one.
"""

import errno
import selectors
import socket
import sys
import time

PATIENCE = 3.0
WORDS = {0: "open", errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable"}


def knock(kind, address, port):
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    door.setblocking(False)
    failed = door.connect_ex((address, port))
    if kind == "udp":
        door.send(b"anybody there?")
    elif failed not in (0, errno.EINPROGRESS):
        return None, WORDS.get(failed, errno.errorcode[failed])
    return door, "silent"


def heard(kind, door):
    """What came back at a door that has news."""
    failed = door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return WORDS.get(failed, errno.errorcode.get(failed, failed))


def main():
    addresses = sys.argv[1].split(",")
    kinds = dict(zip(("tcp", "udp"), (ports.split(",") for ports in sys.argv[2:])))
    results, waiting = {}, selectors.DefaultSelector()
    for kind, ports in kinds.items():
        for address in addresses:
            for port in ports:
                what = (address, kind, port)
                door, results[what] = knock(kind, address, int(port))
                if door:
                    # A datagram is sent at once; an answer or a refusal is read.
                    waiting.register(door, selectors.EVENT_WRITE if kind == "tcp" else selectors.EVENT_READ, what)
    end = time.monotonic() + PATIENCE
    while waiting.get_map() and (left := end - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            results[key.data] = heard(key.data[1], key.fileobj)
            waiting.unregister(key.fileobj)
    for what, result in results.items():
        print(*what, result)


main()
