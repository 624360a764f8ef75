"""A BlueZ that does what it is told, on the bus argv[1]: two adapters, of which hci0 has the radio.

A line of JSON on standard input is an order and is answered with a line; `{"do": "log"}` with what was done to it.
dbus-fast and not python-dbusmock: that one needs GLib and Debian's own Python, its adapter cannot fall silent, and its
characteristics cannot notify.
"""

import asyncio
import json
import sys

from dbus_fast import DBusError, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_property, method

READ = PropertyAccess.READ
FAILED = "org.bluez.Error.Failed"


def whole(uuid):
    return f"0000{uuid}-0000-1000-8000-00805f9b34fb" if len(uuid) == 4 else uuid


class Adapter(ServiceInterface):
    def __init__(self, world, name):
        super().__init__("org.bluez.Adapter1")
        self.world, self.hci, self.path = world, name, f"/org/bluez/{name}"
        self.powered, self.blocked, self.discovering = True, False, False

    @dbus_property(READ)
    def Address(self) -> "s":
        return "F0:F1:F2:F3:F4:F" + self.hci[-1]

    @dbus_property(READ)
    def AddressType(self) -> "s":
        return "public"

    @dbus_property(READ)
    def Name(self) -> "s":
        return "mock"

    @dbus_property(READ)
    def Alias(self) -> "s":
        return "mock"

    @dbus_property(READ)
    def Modalias(self) -> "s":
        return "usb:v1D6Bp0246d0542"

    @dbus_property(READ)
    def Class(self) -> "u":
        return 0

    @dbus_property(READ)
    def PowerState(self) -> "s":
        return "off-blocked" if self.blocked else "on" if self.powered else "off"

    @dbus_property(READ)
    def Discovering(self) -> "b":
        return self.discovering

    @dbus_property()
    def Powered(self) -> "b":
        return self.powered

    @Powered.setter
    def Powered(self, value: "b"):
        if value == self.powered:
            return
        if value and self.blocked:
            raise DBusError("org.bluez.Error.Blocked", "Blocked through rfkill")
        self.world.done(f"power {'on' if value else 'off'}")
        self.power(value)
        if value and self.world.silent_until == "power":
            self.world.silent_until = None

    def power(self, value):
        self.powered, self.discovering = value, False
        self.emit_properties_changed({"Powered": value, "Discovering": False})
        if not value:
            self.world.disconnect_all()

    @method()
    def SetDiscoveryFilter(self, wanted: "a{sv}"):
        self.world.done("filter " + json.dumps({name: value.value for name, value in sorted(wanted.items())}))

    @method()
    def StartDiscovery(self):
        if not self.powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        self.world.done(f"scan {self.hci}")
        self.discovering = True
        self.emit_properties_changed({"Discovering": True})
        if self.world.silent_until == "scan":
            self.world.silent_until = None

    @method()
    def StopDiscovery(self):
        if not self.discovering:
            raise DBusError(FAILED, "No discovery started")
        self.world.done("scan stopped")
        self.discovering = False
        self.emit_properties_changed({"Discovering": False})


class Device(ServiceInterface):
    def __init__(self, world, address, first):
        super().__init__("org.bluez.Device1")
        self.world, self.address = world, address
        self.path = f"/org/bluez/hci0/dev_{address.replace(':', '_')}"
        self.advertised, self.connected, self.resolved = first, False, False

    def advertise(self, said):
        changed = {name: value for name, value in said.items() if name != "RSSI" or self.advertised.get(name) != value}
        self.advertised = {**self.advertised, **said}
        if changed:
            self.emit_properties_changed({name: self.plain(name) for name in changed})

    def plain(self, name):
        return getattr(self, name)

    @dbus_property(READ)
    def Address(self) -> "s":
        return self.address

    @dbus_property(READ)
    def AddressType(self) -> "s":
        return "random"

    @dbus_property(READ)
    def Name(self) -> "s":
        return self.advertised.get("Name", self.address)

    @dbus_property(READ)
    def Alias(self) -> "s":
        return self.Name

    @dbus_property(READ)
    def Adapter(self) -> "o":
        return "/org/bluez/hci0"

    @dbus_property(READ)
    def RSSI(self) -> "n":
        return self.advertised.get("RSSI", -70)

    @dbus_property(READ)
    def ServiceData(self) -> "a{sv}":
        data = self.advertised.get("ServiceData", {})
        return {whole(uuid): Variant("ay", bytes.fromhex(text)) for uuid, text in data.items()}

    @dbus_property(READ)
    def ManufacturerData(self) -> "a{qv}":
        data = self.advertised.get("ManufacturerData", {})
        return {int(company, 16): Variant("ay", bytes.fromhex(text)) for company, text in data.items()}

    @dbus_property(READ)
    def UUIDs(self) -> "as":
        return []

    @dbus_property(READ)
    def Paired(self) -> "b":
        return False

    @dbus_property(READ)
    def Trusted(self) -> "b":
        return False

    @dbus_property(READ)
    def Blocked(self) -> "b":
        return False

    @dbus_property(READ)
    def LegacyPairing(self) -> "b":
        return False

    @dbus_property(READ)
    def Connected(self) -> "b":
        return self.connected

    @dbus_property(READ)
    def ServicesResolved(self) -> "b":
        return self.resolved

    @method()
    async def Connect(self):
        self.world.done(f"connect {self.address}")
        if self.address in self.world.away or self.address not in self.world.peripherals:
            await asyncio.sleep(0.1)
            raise DBusError(FAILED, "le-connection-abort-by-local")
        if self.connected:
            # Half open, it never comes to more.
            return
        await asyncio.sleep(0.05)
        self.connected = True
        self.emit_properties_changed({"Connected": True})
        self.world.export_gatt(self)
        self.resolved = True
        self.emit_properties_changed({"ServicesResolved": True})

    @method()
    def Disconnect(self):
        self.world.done(f"disconnect {self.address}")
        self.drop()

    def drop(self):
        if self.connected:
            self.connected, self.resolved = False, False
            self.world.unexport_gatt(self)
            self.emit_properties_changed({"Connected": False, "ServicesResolved": False})


class Battery(ServiceInterface):
    def __init__(self, percent):
        super().__init__("org.bluez.Battery1")
        self.percent = percent

    @dbus_property(READ)
    def Percentage(self) -> "y":
        return self.percent


class Service(ServiceInterface):
    def __init__(self, device, uuid):
        super().__init__("org.bluez.GattService1")
        self.device, self.uuid = device, whole(uuid)

    @dbus_property(READ)
    def UUID(self) -> "s":
        return self.uuid

    @dbus_property(READ)
    def Primary(self) -> "b":
        return True

    @dbus_property(READ)
    def Device(self) -> "o":
        return self.device


class Characteristic(ServiceInterface):
    """Its value and flags belong to the peripheral (`about`), and outlast a connection."""

    def __init__(self, world, service, about):
        super().__init__("org.bluez.GattCharacteristic1")
        self.world, self.service, self.about, self.notifying = world, service, about, False

    @dbus_property(READ)
    def UUID(self) -> "s":
        return whole(self.about["uuid"])

    @dbus_property(READ)
    def Service(self) -> "o":
        return self.service

    @dbus_property(READ)
    def Flags(self) -> "as":
        return self.about["flags"]

    @dbus_property(READ)
    def MTU(self) -> "q":
        return 247

    @dbus_property(READ)
    def Value(self) -> "ay":
        return bytes.fromhex(self.about["value"])

    @dbus_property(READ)
    def Notifying(self) -> "b":
        return self.notifying

    @method()
    async def ReadValue(self, options: "a{sv}") -> "ay":
        if "read" not in self.about["flags"]:
            raise DBusError("org.bluez.Error.NotPermitted", "Read not permitted")
        self.world.done(f"read {self.about['uuid']}")
        await asyncio.sleep(self.about.get("slow", 0))
        # As the real one: what was read shows as a changed value, too.
        self.emit_properties_changed({"Value": self.Value})
        return self.Value

    @method()
    def WriteValue(self, value: "ay", options: "a{sv}"):
        way = options["type"].value if "type" in options else "?"
        self.world.done(f"write {self.about['uuid']} {bytes(value).hex()} {way}")
        if self.about.get("ignores"):
            return
        if late := self.about.get("late"):
            asyncio.get_running_loop().call_later(late, self.about.update, {"value": bytes(value).hex()})
            return
        self.about["value"] = bytes(value).hex()
        if self.notifying:
            self.emit_properties_changed({"Value": self.Value})

    @method()
    def StartNotify(self):
        self.world.done(f"notify {self.about['uuid']}")
        self.notifying = True

    @method()
    def StopNotify(self):
        self.notifying = False


class World:
    def __init__(self, bus):
        self.bus, self.log, self.silent_until = bus, [], None
        self.adapters, self.devices, self.peripherals, self.away, self.exported = {}, {}, {}, set(), {}
        self.advertisers = {}
        # The order in which they were found in the laboratory.
        for name in ("hci1", "hci0"):
            self.plug(name)

    def done(self, what):
        self.log.append(what)

    def plug(self, name):
        self.adapters[name] = Adapter(self, name)
        self.bus.export(f"/org/bluez/{name}", self.adapters[name])

    def unplug(self, name):
        for device in list(self.devices.values()) if name == "hci0" else []:
            device.drop()
            self.bus.unexport(device.path)
            del self.devices[device.address]
        del self.adapters[name]
        self.bus.unexport(f"/org/bluez/{name}")

    def disconnect_all(self):
        for device in self.devices.values():
            device.drop()

    def export_gatt(self, device):
        objects, services = {}, {}
        for number, about in enumerate(self.peripherals[device.address]["characteristics"]):
            service = services.setdefault(about["service"], f"{device.path}/service{len(services):04x}")
            if service not in objects:
                objects[service] = Service(device.path, about["service"])
            objects[f"{service}/char{number:04x}"] = Characteristic(self, service, about)
        for path, interface in objects.items():
            self.bus.export(path, interface)
        battery = self.peripherals[device.address].get("battery")
        if battery is not None:
            self.bus.export(device.path, Battery(battery))
        self.exported[device.address] = objects

    def unexport_gatt(self, device):
        for path in self.exported.pop(device.address, {}):
            self.bus.unexport(path)
        if self.peripherals[device.address].get("battery") is not None:
            self.bus.unexport(device.path, "org.bluez.Battery1")

    def advertise(self, order):
        """Comes through only when somebody scans and the radio is well."""
        adapter = self.adapters.get("hci0")
        if not adapter or not adapter.discovering or self.silent_until:
            return False
        said = {"RSSI": order.get("rssi", -60)}
        for ours, theirs in (("service_data", "ServiceData"), ("manufacturer_data", "ManufacturerData"), ("name", "Name")):
            if ours in order:
                said[theirs] = order[ours]
        device = self.devices.get(order["address"])
        if device is None:
            device = self.devices[order["address"]] = Device(self, order["address"], said)
            self.bus.export(device.path, device)
        elif not device.connected:
            device.advertise(said)
        return True

    async def keep_advertising(self, order):
        while True:
            self.advertise(order)
            await asyncio.sleep(order["every"])

    def obey(self, order):
        match order["do"]:
            case "log":
                return self.log
            case "advertise":
                if "every" in order:
                    if before := self.advertisers.pop(order["address"], None):
                        before.cancel()
                    self.advertisers[order["address"]] = asyncio.ensure_future(self.keep_advertising(order))
                    return True
                return self.advertise(order)
            case "peripheral":
                self.peripherals[order["address"]] = order
                if order.get("half_open"):
                    # What a daemon finds that was killed and started while the kernel kept a connection.
                    device = self.devices[order["address"]] = Device(self, order["address"], {})
                    device.connected = True
                    self.bus.export(device.path, device)
            case "away":
                self.away.add(order["address"])
                self.devices[order["address"]].drop()
            case "near":
                self.away.discard(order["address"])
            case "notify":
                about, characteristic = self.characteristic(order["uuid"])
                about["value"] = order["value"]
                if characteristic is None or not characteristic.notifying:
                    return False
                characteristic.emit_properties_changed({"Value": characteristic.Value})
            case "change":
                self.characteristic(order["uuid"])[0].update(order["into"])
            case "silence":
                self.silent_until = order["until"]
            case "speak":
                self.silent_until = None
            case "scan_ends":
                self.adapters["hci0"].discovering = False
            case "unplug":
                self.unplug(order["adapter"])
            case "plug":
                self.plug(order["adapter"])
            case "power_off":
                self.adapters["hci0"].power(False)
            case "block":
                self.adapters["hci0"].blocked = True
                self.adapters["hci0"].power(False)
            case "unblock":
                self.adapters["hci0"].blocked = False
        return True

    def characteristic(self, uuid):
        for address, peripheral in self.peripherals.items():
            for about in peripheral["characteristics"]:
                if about["uuid"] == uuid:
                    objects = self.exported.get(address, {}).values()
                    return about, next((one for one in objects if getattr(one, "about", None) is about), None)
        raise KeyError(uuid)


async def main():
    bus = await MessageBus(bus_address=sys.argv[1]).connect()
    world = World(bus)
    await bus.request_name("org.bluez")
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = world.obey(json.loads(line))
        except Exception as problem:  # noqa: BLE001, the test must hear of it
            answer = {"problem": repr(problem)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
