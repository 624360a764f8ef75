"""The line in between: a proxy of TCP that counts, delays, refuses or swallows, in a process of its own.

    line.py PORT TARGET DELAY_MS

Reads commands from its input, a line each: `pass`, `refuse` (no listener, open connections are reset), `swallow`
(everything is held, nothing answers; what was held goes on at `pass`), `count` (answers with the bytes so far).
"""

import asyncio
import socket
import struct
import subprocess
import sys
from pathlib import Path

CHUNK = 1 << 16


class Line:
    """The parent's end."""

    def __init__(self, folder, target, delay=0):
        import mqtt

        self.port = mqtt.free_port()
        command = [sys.executable, str(Path(__file__).resolve()), str(self.port), str(target), str(delay)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        folder.processes.append(self.process)
        self.say("pass")

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def count(self):
        return int(self.say("count"))


class Proxy:
    def __init__(self, port, target, delay):
        self.port, self.target, self.delay = port, target, delay / 1000
        self.bytes, self.server, self.writers = 0, None, set()
        self.passing = asyncio.Event()
        self.passing.set()

    async def listen(self):
        if not self.server:
            self.server = await asyncio.start_server(self.take, "127.0.0.1", self.port, limit=CHUNK)

    async def refuse(self):
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            # A reset, as of a router that has forgotten.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def take(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            writer.close()
            return
        both = [(reader, far_writer), (far_reader, writer)]
        for _, one in both:
            self.writers.add(one)
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(*(self.carry(*pair) for pair in both), return_exceptions=True)
        self.writers -= {far_writer, writer}

    async def carry(self, reader, writer):
        """Two tasks, so that what is delayed does not wait for what was delayed before it. 256 chunks at most."""
        queue, clock = asyncio.Queue(256), asyncio.get_running_loop()

        async def give():
            while True:
                due, data = await queue.get()
                if (wait := due - clock.time()) > 0:
                    await asyncio.sleep(wait)
                await self.passing.wait()
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        giving = asyncio.create_task(give())
        try:
            while data := await reader.read(CHUNK):
                self.bytes += len(data)
                await self.passing.wait()
                await queue.put((clock.time() + self.delay, data))
            await queue.put((clock.time() + self.delay, b""))
            await giving
        finally:
            giving.cancel()
            writer.close()


async def main(port, target, delay):
    proxy = Proxy(port, target, delay)
    await proxy.listen()
    loop = asyncio.get_running_loop()
    while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if word == "pass":
            proxy.passing.set()
            await proxy.listen()
        elif word == "refuse":
            await proxy.refuse()
        elif word == "swallow":
            proxy.passing.clear()
        print(proxy.bytes, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
