"""A relay as one writes it on a Sunday: paho on both sides, what comes on one is published on the other."""

import ssl
import sys

import paho.mqtt.client as paho

PREFIX = "hearthlink/home/"

home = paho.Client("relay", clean_session=False)
cloud = paho.Client("home", clean_session=False, transport="websockets")


def out(_client, _data, message):
    cloud.publish(PREFIX + message.topic, message.payload, message.qos)


def back(_client, _data, message):
    home.publish(message.topic.removeprefix(PREFIX), message.payload, message.qos)


home.on_message, cloud.on_message = out, back
home.on_connect = lambda *_: home.subscribe("sensors/#", 1)
cloud.on_connect = lambda *_: cloud.subscribe(PREFIX + "order/#", 1)
for client in (home, cloud):
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(0)
cloud.ws_set_options("/mqtt")
cloud.tls_set("ca.pem", "home.pem", "home.key", cert_reqs=ssl.CERT_REQUIRED)
cloud.reconnect_delay_set(1, 1)
cloud.connect_async("localhost", int(sys.argv[2]), 60)
cloud.loop_start()
home.connect("127.0.0.1", int(sys.argv[1]), 60)
home.loop_forever()
