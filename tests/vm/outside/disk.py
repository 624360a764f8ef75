"""A disk that loses its power as a card does: what it was not told to flush may be gone.

An NBD server for one QEMU at a time (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). What the guest
writes stays in memory until it flushes, or writes with FUA. The end of the connection is the power cut: each page that is
still in memory is written or lost, by lot; so pages that were written later may be there while earlier ones are not. A
QEMU with a file would be kinder: killed, all that the guest wrote is in the host's page cache and stays.

    disk.py FILE SOCKET SEED

Standard output has a line for each power cut: how many pages were not flushed, how many of them are lost, and how often
it was flushed before.
"""

import os
import random
import socket
import struct
import sys

PAGE = 4096
HANDSHAKE, OPTION, OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST, REPLY = 0x25609513, 0x67446698
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
ACK, EXPORT, UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
# It has flags, it can flush, it knows FUA.
OFFERED = 1 | 4 | 8
INVALID = 22


class Disk:
    def __init__(self, path, lot):
        self.file = os.open(path, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        self.lot, self.unflushed, self.flushes = lot, {}, 0

    def page(self, number):
        held = self.unflushed.get(number)
        return bytes(held) if held is not None else os.pread(self.file, PAGE, number * PAGE)

    def read(self, offset, length):
        first, last = offset // PAGE, (offset + length - 1) // PAGE
        if self.unflushed:
            pages = b"".join(map(self.page, range(first, last + 1)))
        else:
            pages = os.pread(self.file, (last - first + 1) * PAGE, first * PAGE)
        return pages[offset - first * PAGE :][:length]

    def write(self, offset, data):
        """Gives the numbers of the pages that it touches."""
        touched = range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1)
        for number in touched:
            begin = max(offset, number * PAGE)
            end = min(offset + len(data), (number + 1) * PAGE)
            part = data[begin - offset : end - offset]
            if len(part) < PAGE:
                whole = bytearray(self.page(number))
                whole[begin - number * PAGE : end - number * PAGE] = part
                part = bytes(whole)
            self.unflushed[number] = part
        return touched

    def keep(self, numbers):
        for number in numbers:
            os.pwrite(self.file, self.unflushed.pop(number), number * PAGE)

    def flush(self):
        self.keep(list(self.unflushed))
        self.flushes += 1

    def lose_power(self):
        held = sorted(self.unflushed)
        lost = [number for number in held if self.lot.random() < 0.5]
        for number in lost:
            del self.unflushed[number]
        self.keep(list(self.unflushed))
        print(len(held), len(lost), self.flushes, flush=True)
        self.flushes = 0


class Line:
    """One QEMU."""

    def __init__(self, connection, disk):
        self.connection, self.disk = connection, disk

    def take(self, count):
        taken = bytearray()
        while len(taken) < count:
            part = self.connection.recv(count - len(taken))
            if not part:
                raise EOFError
            taken += part
        return bytes(taken)

    def take_as(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def answer(self, option, kind, data=b""):
        self.connection.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

    def agree(self):
        """The handshake, until the client wants to begin."""
        self.connection.sendall(HANDSHAKE + OPTION + struct.pack(">H", 3))
        self.take(4)
        while True:
            _, option, length = self.take_as(">8sII")
            self.take(length)
            if option in (INFO, GO):
                self.answer(option, EXPORT, struct.pack(">HQH", 0, self.disk.size, OFFERED))
                self.answer(option, ACK)
                if option == GO:
                    return
            elif option == EXPORT_NAME:
                self.connection.sendall(struct.pack(">QH", self.disk.size, OFFERED))
                return
            elif option == ABORT:
                raise EOFError
            else:
                self.answer(option, UNSUPPORTED)

    def serve(self):
        self.agree()
        while True:
            magic, flags, kind, handle, offset, length = self.take_as(">IHHQQI")
            assert magic == REQUEST, f"no request: {magic:x}"
            error, data = 0, b""
            if kind == READ:
                data = self.disk.read(offset, length)
            elif kind == WRITE:
                touched = self.disk.write(offset, self.take(length))
                if flags & FUA:
                    self.disk.keep(touched)
            elif kind == FLUSH:
                self.disk.flush()
            elif kind == DISCONNECT:
                return
            else:
                error = INVALID
            self.connection.sendall(struct.pack(">IIQ", REPLY, error, handle) + data)


def main():
    path, address, seed = sys.argv[1:]
    disk = Disk(path, random.Random(int(seed)))
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(1)
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                Line(connection, disk).serve()
            except (EOFError, ConnectionError):
                pass
        disk.lose_power()


if __name__ == "__main__":
    main()
