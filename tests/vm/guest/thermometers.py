"""A Bluetooth controller, by default at /dev/vhci, and three devices in its radio's reach. Ends with its standard input.

By `bumble`: one of its controllers is what the kernel's Bluetooth stack, and so bluetoothd, takes for an adapter; each
device has a controller of its own on the same virtual air.

    attic   advertises BTHome v2 in the clear
    cellar  the same, encrypted; bind key in BIND_KEY
    boiler  GATT: service 181A with the temperature (2A6E: read, notify) and the set-point (FFF1: read, write)

Standard input has a JSON object a line: new values, such as {"attic": 21.5}. Standard output has what happened, a line
each: `ready`, `written <hex>`, `connected`, `gone`. The first argument is where the counter of encrypted advertisements
begins. The second one, if any, is another way to the kernel than /dev/vhci, as bumble calls it: `pty:PATH` is a serial line,
for `btattach`.
"""

import asyncio
import json
import struct
import sys

from bumble.controller import Controller
from bumble.core import AdvertisingData, PhysicalTransport
from bumble.device import Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, OwnAddressType
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

ATTIC, CELLAR, BOILER = "A4:C1:38:00:00:01", "A4:C1:38:00:00:02", "F6:F7:F8:F9:FA:FB"
BIND_KEY = "231d39c1d7cc1ab1aee224cd096db932"
SETPOINT = "0000fff1-0000-1000-8000-00805f9b34fb"


class Air(LocalLink):
    """The radio between the controllers.

    bumble 0.0.236 stamps data on a connection with the sender's random address, even where the connection was made with
    its public one; BlueZ scans with a random address and connects with the public one.
    """

    def send_acl_data(self, sender_controller, destination_address, transport, data):
        connection = sender_controller.le_connections.get(destination_address)
        if transport != PhysicalTransport.LE or connection is None:
            return super().send_acl_data(sender_controller, destination_address, transport, data)
        own = connection.self_address
        for other in self.controllers:
            if other is not sender_controller and own in other.le_connections:
                asyncio.get_running_loop().call_soon(other.on_link_acl_data, own, transport, data)


def say(*words):
    print(*words, flush=True)


def measurement(celsius):
    """BTHome v2 objects: temperature in 0.01 °C, battery 87 % (bthome.io/format; ids in rising order)."""
    return bytes([0x01, 87]) + b"\x02" + struct.pack("<h", round(celsius * 100))


def bthome(celsius):
    """Service data FCD2 in the clear: device information 0x40 is version 2, not encrypted."""
    return struct.pack("<H", 0xFCD2) + b"\x40" + measurement(celsius)


def bthome_encrypted(celsius, counter):
    """AES-CCM, four bytes of tag; the nonce is address, UUID, device information and counter (bthome.io/encryption)."""
    count = struct.pack("<I", counter)
    nonce = bytes.fromhex(CELLAR.replace(":", "")) + b"\xd2\xfc\x41" + count
    sealed = AESCCM(bytes.fromhex(BIND_KEY), tag_length=4).encrypt(nonce, measurement(celsius), None)
    return struct.pack("<H", 0xFCD2) + b"\x41" + sealed[:-4] + count + sealed[-4:]


class Neighbour:
    """One device in reach, with a radio of its own."""

    def __init__(self, air, name, address, kind):
        self.name, self.kind = name, kind
        public = address if kind == OwnAddressType.PUBLIC else "00:00:00:00:00:01"
        host = Host()
        host.controller = Controller(name, link=air, public_address=public)
        random = address if kind == OwnAddressType.RANDOM else "F0:00:00:00:00:00"
        self.device = Device(name=name, address=Address(random), host=host)

    def advertising(self, service_data):
        parts = [(AdvertisingData.FLAGS, b"\x06"), (AdvertisingData.SERVICE_DATA_16_BIT_UUID, service_data),
                 (AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode())]
        return bytes(AdvertisingData(parts))

    async def advertise(self, service_data):
        if self.device.is_advertising:
            await self.device.stop_advertising()
        # A restart by itself, because connecting ends it.
        await self.device.start_advertising(
            own_address_type=self.kind, advertising_data=self.advertising(service_data), auto_restart=True,
            advertising_interval_min=400, advertising_interval_max=400,
        )


async def main():
    values = {"attic": 20.0, "cellar": 10.0, "boiler": 55.0, "counter": int(sys.argv[1])}
    setpoint = [struct.pack("<h", 4500)]
    way = sys.argv[2] if len(sys.argv) > 2 else "vhci"
    async with await open_transport(way) as adapter:
        air = Air()
        Controller("adapter", host_source=adapter.source, host_sink=adapter.sink, link=air,
                   public_address="F0:F1:F2:F3:F4:F5")
        attic = Neighbour(air, "attic", ATTIC, OwnAddressType.PUBLIC)
        cellar = Neighbour(air, "cellar", CELLAR, OwnAddressType.PUBLIC)
        boiler = Neighbour(air, "boiler", BOILER, OwnAddressType.RANDOM)

        def celsius(_connection):
            return struct.pack("<h", round(values["boiler"] * 100))

        def write(_connection, value):
            setpoint[0] = bytes(value)
            say("written", value.hex())

        flags, rights = Characteristic.Properties, Characteristic.Permissions
        temperature = Characteristic("2A6E", flags.READ | flags.NOTIFY, rights.READABLE, CharacteristicValue(read=celsius))
        target = Characteristic(SETPOINT, flags.READ | flags.WRITE, rights.READABLE | rights.WRITEABLE,
                                CharacteristicValue(read=lambda _: setpoint[0], write=write))
        boiler.device.add_services([Service("181A", [temperature, target])])

        def connected(connection):
            say("connected")
            connection.on("disconnection", lambda _: say("gone"))

        boiler.device.on("connection", connected)

        for neighbour in (attic, cellar, boiler):
            await neighbour.device.power_on()

        async def tell():
            await attic.advertise(bthome(values["attic"]))
            values["counter"] += 1
            await cellar.advertise(bthome_encrypted(values["cellar"], values["counter"]))

        await tell()
        await boiler.advertise(struct.pack("<H", 0x181A) + b"\x00")
        say("ready")
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            change = json.loads(line)
            values.update(change)
            await tell()
            if "boiler" in change:
                await boiler.device.notify_subscribers(temperature, celsius(None))


if __name__ == "__main__":
    asyncio.run(main())
