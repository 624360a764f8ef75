"""MQTT 3.1.1 as the load generator needs it: prepared bytes and plain sockets.

Never checks what a conformance test checks: it must cost far less than what it measures.
"""

import os
import socket
import struct
import time

PATIENCE = 30


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body):
    length, header = len(body), bytearray([first])
    while True:
        low, length = length & 0x7F, length >> 7
        header.append(low | 0x80 if length else low)
        if not length:
            return bytes(header) + body


def publish(topic, payload, qos=0, number=1):
    name = struct.pack(">H", number) if qos else b""
    return packet(0x30 | qos << 1, text(topic) + name + payload)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """One connection; `read` gives a packet's first byte and body."""

    def __init__(self, port, name, filters=(), qos=0, clean=True):
        self.socket = dial(port)
        self.buffer = bytearray()
        flags = 2 if clean else 0
        self.send(packet(0x10, text("MQTT") + bytes([4, flags, 0x0E, 0x10]) + text(name)))
        first, body = self.read()
        if first != 0x20 or body[1] != 0:
            raise RuntimeError(f"{name} is refused: {first:#x} {body!r}")
        for number, wanted in enumerate(filters, 1):
            self.send(packet(0x82, struct.pack(">H", number) + text(wanted) + bytes([qos])))
            self.expect(9)

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        while True:
            taken = self.next()
            if taken:
                return taken
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError("the broker has hung up")
            self.buffer += data

    def next(self):
        """A whole packet from the buffer, or nothing."""
        length = shift = 0
        for at in range(1, min(len(self.buffer), 5)):
            byte = self.buffer[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                end = at + 1 + length
                if len(self.buffer) < end:
                    return None
                taken = self.buffer[0], bytes(self.buffer[at + 1 : end])
                del self.buffer[:end]
                return taken
        return None

    def expect(self, kind):
        """The next packet of a kind (its number in section 2.2.1), whatever comes before."""
        while True:
            first, body = self.read()
            if first >> 4 == kind:
                return body

    def close(self):
        self.socket.close()


def parts(body, qos):
    """Topic, packet id and payload of a PUBLISH."""
    length = struct.unpack_from(">H", body)[0]
    end = 2 + length
    number = body[end : end + 2] if qos else b""
    return body[2:end].decode(), number, body[end + len(number) :]


def dial(port):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.002)


def marker():
    """Twelve bytes that no message of an earlier round has."""
    return os.urandom(6).hex().encode()
