"""Home Assistant itself, given what a gateway with a device of every kind says at home.

It reads a file of the gateway's retained messages (HEARD: a JSON list of [topic, payload]), and writes what Home Assistant
publishes when its services are called into another (SAID), for tests/assistant.rs to hand to the gateway.
"""

import json
import os

import pytest
from homeassistant.const import STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.helpers import device_registry, entity_registry
from pytest_homeassistant_custom_component.common import async_fire_mqtt_message

# Of some fields, what they must be there: domain, device class, unit, class in statistics, category. Written down here
# from what they are, and not from what is announced.
EXPECTED = {
    ("thermometer", "temperature"): ("sensor", "temperature", "°C", "measurement", None),
    ("p1", "energy_import_total"): ("sensor", "energy", "kWh", "total_increasing", None),
    ("p1", "power"): ("sensor", "power", "W", "measurement", None),
    ("door", "state"): ("binary_sensor", "door", None, None, None),
    ("kettle", "state"): ("switch", None, None, None, None),
    ("fountain", "state"): ("switch", None, None, None, None),
    ("toaster", "browning"): ("number", None, None, None, None),
    ("blind", "state"): ("cover", "shutter", None, None, None),
    ("light_1", "state"): ("light", None, None, None, None),
    ("attic", "mode"): ("select", None, None, None, None),
    ("keys", "presence"): ("device_tracker", None, None, None, None),
    ("sauna", "humidity"): ("sensor", "humidity", "%", "measurement", None),
    ("fridge", "battery"): ("sensor", "battery", "%", "measurement", "diagnostic"),
    ("sauna", "signal"): ("sensor", "signal_strength", "dBm", "measurement", "diagnostic"),
}

# Services that are called, each of an entity, and for each the payload that the gateway is to get as JSON.
CALLS = [
    ("kettle", "state", "turn_on", {}, {"state": "ON"}),
    ("fountain", "state", "turn_on", {}, {"state": "ON"}),
    ("fountain", "state", "turn_off", {}, {"state": "OFF"}),
    ("toaster", "browning", "set_value", {"value": 5}, {"browning": 5}),
    ("radiator", "target", "set_value", {"value": 21.5}, {"target": 21.5}),
    ("attic", "mode", "select_option", {"option": "eco"}, {"mode": "eco"}),
    ("light_1", "state", "turn_on", {"brightness": 128}, None),
    ("blind", "state", "set_cover_position", {"position": 30}, {"position": 30}),
    ("blind", "state", "close_cover", {}, {"state": "CLOSE"}),
]


def split(heard):
    announced = {}
    for topic, payload in heard:
        if topic.startswith("homeassistant/device/"):
            announced[topic.split("/")[2]] = json.loads(payload)
    return announced, [(topic, payload) for topic, payload in heard if not topic.startswith("homeassistant/")]


@pytest.fixture
def expected_lingering_timers():
    """Home Assistant's MQTT client beats every second until it is gone, and the test's end may come first."""
    return True


@pytest.mark.usefixtures("mock_hass_config")
async def test_every_kind_makes_the_right_entities_and_its_services_reach_the_gateway(hass, mqtt_mock_entry, caplog):
    with open(os.environ["HEARD"], encoding="utf-8") as file:
        heard = json.load(file)
    announced, said_at_home = split(heard)
    assert announced and said_at_home
    mqtt = await mqtt_mock_entry()
    for device, announcement in announced.items():
        async_fire_mqtt_message(hass, f"homeassistant/device/{device}/config", json.dumps(announcement))
        await hass.async_block_till_done()
    for topic, payload in said_at_home:
        async_fire_mqtt_message(hass, topic, payload)
    await hass.async_block_till_done()

    entities, devices = entity_registry.async_get(hass), device_registry.async_get(hass)
    found = {}
    for device, announcement in announced.items():
        identifier = announcement["device"]["identifiers"][0]
        assert devices.async_get_device(identifiers={("mqtt", identifier)}), device
        for field, component in announcement["components"].items():
            entity_id = entities.async_get_entity_id(component["platform"], "mqtt", component["unique_id"])
            assert entity_id, f"{device} {field}: no {component['platform']} was made"
            found[device, field] = entity_id
            state = hass.states.get(entity_id)
            assert state, entity_id
            assert state.state != STATE_UNAVAILABLE, entity_id

    for (device, field), (domain, device_class, unit, state_class, category) in EXPECTED.items():
        entity_id = found[device, field]
        attributes, entry = hass.states.get(entity_id).attributes, entities.async_get(entity_id)
        there = (entry.domain, attributes.get("device_class"), attributes.get("unit_of_measurement"),
                 attributes.get("state_class"), entry.entity_category and entry.entity_category.value)
        assert there == (domain, device_class, unit, state_class, category), f"{device} {field}"
        if domain == "sensor":
            assert hass.states.get(entity_id).state != STATE_UNKNOWN, f"{device} {field} was read"

    said = []
    for device, field, service, data, expected in CALLS:
        entity_id = found[device, field]
        domain = entity_id.split(".")[0]
        mqtt.async_publish.reset_mock()
        await hass.services.async_call(domain, service, {"entity_id": entity_id, **data}, blocking=True)
        assert mqtt.async_publish.call_count == 1, f"{device} {field} {service}"
        topic, payload = mqtt.async_publish.call_args[0][:2]
        assert topic == f"home/{device}/set"
        if expected is not None:
            assert json.loads(payload) == expected, f"{device} {field} {service}"
        said.append([topic, payload])
    with open(os.environ["SAID"], "w", encoding="utf-8") as file:
        json.dump(said, file)

    # One device is away, then the gateway itself.
    kettle, fountain = found["kettle", "state"], found["fountain", "state"]

    async def availability(topic, payload):
        async_fire_mqtt_message(hass, topic, payload)
        await hass.async_block_till_done()
        return [hass.states.get(entity_id).state == STATE_UNAVAILABLE for entity_id in (kettle, fountain)]

    assert await availability("home/kettle/availability", "offline") == [True, False]
    assert await availability("home/kettle/availability", "online") == [False, False]
    assert await availability("home/bridge/state", "offline") == [True, True]
    assert await availability("home/bridge/state", "online") == [False, False]

    complaints = [record for record in caplog.records
                  if record.levelname in ("WARNING", "ERROR") and ".mqtt" in record.name]
    assert not complaints, "\n".join(record.getMessage() for record in complaints)

    # A device leaves.
    async_fire_mqtt_message(hass, "homeassistant/device/kettle/config", "")
    await hass.async_block_till_done()
    assert hass.states.get(kettle) is None
