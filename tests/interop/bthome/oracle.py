"""What other people's decoders make of advertisements: bthome-ble, xiaomi-ble, ruuvitag-ble, atc-mi-interface, Theengs.

A line of JSON on standard input is one device: {"oracle", "key", "adverts": [{"address", "data", "at"}]}. The answer is a
line with what the decoder knows of the device after each advertisement: {"state": {...}, "events": {...}}; events are
those of this advertisement alone. Names and values are the decoders' own.
"""

import datetime
import enum
import json
import logging
import sys

from atc_mi_interface import atc1441_enc_format, atc1441_format, custom_enc_format, custom_format
from bthome_ble.parser import BTHomeBluetoothDeviceData
from habluetooth import BluetoothServiceInfoBleak
from home_assistant_bluetooth import BluetoothServiceInfo
from ruuvitag_ble import RuuvitagBluetoothDeviceData
from TheengsDecoder import decodeBLE
from xiaomi_ble.parser import XiaomiBluetoothDeviceData


def uuid(short):
    return f"0000{short}-0000-1000-8000-00805f9b34fb"


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, enum.Enum):
        return value.value
    return value


class HomeAssistant:
    """A decoder of Home Assistant's; `make` packs an advertisement for it."""

    def __init__(self, device, make):
        self.device, self.make = device, make

    def hear(self, advert):
        update = self.device.update(self.make(advert))
        state = {}
        for key, value in update.entity_values.items():
            # Two values of one name, in different units, are told apart by those.
            unit = update.entity_descriptions[key].native_unit_of_measurement
            state[key.key] = [plain(value.native_value), plain(unit)]
        for key, value in update.binary_entity_values.items():
            state["binary:" + key.key] = [bool(value.native_value), None]
        state.pop("signal_strength", None)
        if getattr(self.device, "device_type_id", None) is not None:
            state["device_type_id"] = [self.device.device_type_id, None]
        versions = [info.sw_version for info in update.devices.values()]
        if versions and versions[0] and versions[0][0].isdigit():
            state["firmware_version"] = [versions[0], None]
        events = {
            key.key: [event.event_type, event.event_properties] for key, event in update.events.items()
        }
        return {"state": state, "events": events}


def bthome(key):
    def make(advert):
        return BluetoothServiceInfoBleak(
            name="x", address=advert["address"], rssi=-60, manufacturer_data={},
            service_data={uuid("fcd2"): bytes.fromhex(advert["data"])}, service_uuids=[], source="", device=None,
            advertisement=None, connectable=False, time=1_700_000_000 + advert["at"], tx_power=None,
        )

    return HomeAssistant(BTHomeBluetoothDeviceData(bindkey=key), make)


def older(device, service_data, manufacturer_data):
    def make(advert):
        data = bytes.fromhex(advert["data"])
        return BluetoothServiceInfo(
            name="x", address=advert["address"], rssi=-60,
            manufacturer_data={number: data for number in manufacturer_data},
            service_data={uuid(short): data for short in service_data},
            service_uuids=[], source="",
        )

    return HomeAssistant(device, make)


class Atc:
    def __init__(self, key):
        self.key = key

    def hear(self, advert):
        data = bytes.fromhex(advert["data"])
        packet = bytes([len(data) + 3, 0x16, 0x1A, 0x18]) + data
        form = {8: atc1441_enc_format, 11: custom_enc_format, 13: atc1441_format, 15: custom_format}[len(data)]
        mac = bytes.fromhex(advert["address"].replace(":", ""))
        parsed = form.parse(packet, mac_address=mac, bindkey=self.key)
        # What is sealed stands deeper, and with it a flag beside the battery.
        inner = parsed.get("codec") or parsed
        flat = {**inner, **(inner.get("batt_trg") or {})}
        names = ("temperature", "humidity", "battery_level", "battery_v")
        state = {name: [flat[name], None] for name in names if name in flat}
        return {"state": state, "events": {}}


class Theengs:
    """Theengs as it comes: only asked, never read."""

    def __init__(self, field, short):
        self.field, self.short = field, short

    def hear(self, advert):
        question = {"id": advert["address"], "rssi": -60, "name": advert.get("name", "")}
        if self.field == "servicedata":
            question |= {"servicedata": advert["data"], "servicedatauuid": "0x" + self.short}
        else:
            # The company's number is a part of it, the lower byte first.
            question |= {"manufacturerdata": self.short[2:] + self.short[:2] + advert["data"]}
        answer = decodeBLE(json.dumps(question))
        known = json.loads(answer) if isinstance(answer, str) else {}
        return {"state": {name: [value, None] for name, value in known.items()}, "events": {}}


ORACLES = {
    "bthome": bthome,
    "mibeacon": lambda key: older(XiaomiBluetoothDeviceData(bindkey=key), ["fe95"], []),
    "ruuvi": lambda key: older(RuuvitagBluetoothDeviceData(), [], [0x0499]),
    "atc": Atc,
    "theengs_atc": lambda key: Theengs("servicedata", "181a"),
    "theengs_bthome": lambda key: Theengs("servicedata", "fcd2"),
    "theengs_mibeacon": lambda key: Theengs("servicedata", "fe95"),
    "theengs_ruuvi": lambda key: Theengs("manufacturerdata", "0499"),
}


def main():
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        asked = json.loads(line)
        key = bytes.fromhex(asked["key"]) if asked["key"] else None
        device = ORACLES[asked["oracle"]](key)
        said = []
        for advert in asked["adverts"]:
            # What a decoder cannot bear, it does not decode.
            try:
                heard = device.hear(advert)
            except Exception as error:  # noqa: BLE001
                heard = {"error": repr(error)}
            # A snapshot: the decoders go on writing into what they gave.
            said.append(json.loads(json.dumps(heard)))
        print(json.dumps(said), flush=True)


main()
