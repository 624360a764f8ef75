"""A resolver for the network tests: answers A questions over UDP from a file, and says nothing without it.

    resolver.py ADDRESS FILE

The file has a name and its addresses in each line and is read for every question, so that a name can move. While
there is no file, no question is answered, as by a resolver that is not up yet. Answers live for a second.
"""

import socket
import struct
import sys


def name_of(question):
    """The name that is asked for, and where it ends."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii").lower())
        at += 1 + question[at]
    return ".".join(labels), at + 1


def answer(question, names):
    name, end = name_of(question)
    kind = struct.unpack_from(">H", question, end)[0]
    addresses = names.get(name)
    records = [
        b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address)
        for address in addresses or []
        if kind == 1
    ]
    # Response, recursion desired and available; 3: there is no such name. A name without an AAAA is no error.
    flags = 0x8180 | (0 if addresses else 3)
    head = question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    return head + question[12 : end + 4] + b"".join(records)


def main():
    address, file = sys.argv[1:]
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((address, 53))
    print("ready", flush=True)
    while True:
        question, asker = line.recvfrom(512)
        try:
            with open(file, encoding="ascii") as text:
                names = {name: addresses for name, *addresses in map(str.split, text)}
        except FileNotFoundError:
            print("not answered", flush=True)
            continue
        print("answered", *name_of(question)[:1], flush=True)
        line.sendto(answer(question, names), asker)


main()
