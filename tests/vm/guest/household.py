"""Those at home while the power is cut: a meter that publishes with QoS 1, and a slow fan that takes commands.

    household.py FIRST RATE

The meter publishes `{"n": FIRST}`, `{"n": FIRST + 1}` … to sensors/load, RATE times a second, with at most forty on
their way. The fan takes its orders from fan/set, one after the other, a second each, and then says what it is now on
fan/state. What happened goes out of the machine at once, a line each: `acked N` for each PUBACK that the meter saw,
`ran WORD` for each order when the fan begins.
"""

import os
import queue
import sys
import threading
import time

import paho.mqtt.client as mqtt

PORT = "/dev/virtio-ports/lab.household"
UNDERWAY = 40


def main():
    first, rate = int(sys.argv[1]), float(sys.argv[2])
    port = os.open(PORT, os.O_WRONLY)
    lock = threading.Lock()

    def report(text):
        with lock:
            os.write(port, text.encode() + b"\n")

    orders = queue.Queue()
    numbers, room = {}, threading.Semaphore(UNDERWAY)

    def connected(client, _data, _flags, code):
        report(f"connected {code}")
        client.subscribe("fan/set", 1)

    def acked(_client, _data, packet):
        # The callback may be quicker than publish() gives the number back.
        while packet not in numbers:
            time.sleep(0.001)
        report(f"acked {numbers.pop(packet)}")
        room.release()

    def fan():
        while True:
            word = orders.get()
            report(f"ran {word}")
            time.sleep(1)
            appliance.publish("fan/state", word, 1)

    appliance = mqtt.Client("fan")
    appliance.on_connect = connected
    appliance.on_message = lambda _client, _data, message: orders.put(message.payload.decode())
    meter = mqtt.Client("meter")
    meter.max_inflight_messages_set(UNDERWAY)
    meter.on_publish = acked
    for client in (appliance, meter):
        while True:
            try:
                client.connect("127.0.0.1")
                break
            except OSError:
                time.sleep(0.2)
        client.loop_start()
    threading.Thread(target=fan, daemon=True).start()
    number = first
    while True:
        room.acquire()
        numbers[meter.publish("sensors/load", f'{{"n": {number}}}', 1).mid] = number
        number += 1
        time.sleep(1 / rate)


if __name__ == "__main__":
    main()
