// mqtt.js as clients of the local broker: does what it is told, one JSON order a line, and says what happens.
//
// Orders and news are described in tests/interop/home_clients/words.rs. It judges nothing: the Rust side does.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import mqtt from 'mqtt';

const PROTOCOLS = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' };

// Name in words.rs, name in mqtt.js, and how the value is read and written.
const same = { to: (value) => value, from: (value) => value };
const binary = { to: (hex) => Buffer.from(hex, 'hex'), from: (bytes) => bytes.toString('hex') };
const flag = { to: (number) => number === 1, from: (is) => Number(is) };
const NAMES = [
  ['content_type', 'contentType', same],
  ['response_topic', 'responseTopic', same],
  ['correlation', 'correlationData', binary],
  ['expiry', 'messageExpiryInterval', same],
  ['format', 'payloadFormatIndicator', flag],
];

const say = (news) => process.stdout.write(`${JSON.stringify(news)}\n`);

/** What words.rs calls properties, as mqtt.js wants them. */
function outgoing(given) {
  const made = {};
  for (const [name, theirs, as] of NAMES) {
    if (name in given) made[theirs] = as.to(given[name]);
  }
  if (given.user?.length) {
    made.userProperties = {};
    for (const [key, value] of given.user) (made.userProperties[key] ??= []).push(value);
  }
  return made;
}

/** mqtt.js's properties, as words.rs wants them. */
function incoming(properties = {}) {
  const found = {};
  for (const [name, theirs, as] of NAMES) {
    if (properties[theirs] !== undefined) found[name] = as.from(properties[theirs]);
  }
  // A key that came once has a string, one that came more often has a list.
  found.user = Object.entries(properties.userProperties ?? {})
    .flatMap(([key, values]) => [values].flat().map((value) => [key, value]));
  found.identifiers = [properties.subscriptionIdentifier ?? []].flat();
  return found;
}

class Client {
  constructor(name, order) {
    this.name = name;
    this.version = order.version;
    this.options = {
      protocol: PROTOCOLS[order.transport],
      host: '127.0.0.1',
      port: order.port,
      path: '/mqtt',
      ca: order.ca && readFileSync(order.ca),
      protocolVersion: order.version,
      protocolId: order.version === 3 ? 'MQIsdp' : 'MQTT',
      clientId: order.id,
      clean: order.clean,
      username: order.user,
      password: order.password,
      reconnectPeriod: 0,
      properties: order.version === 5 && order.session_expiry !== undefined
        ? { sessionExpiryInterval: order.session_expiry }
        : undefined,
      will: order.will && {
        topic: order.will.topic,
        payload: Buffer.from(order.will.payload, 'hex'),
        qos: order.will.qos,
        retain: order.will.retain,
      },
    };
  }

  connect() {
    this.mqtt = mqtt.connect(this.options);
    this.mqtt.on('message', (topic, payload, packet) => say({
      client: this.name,
      message: {
        topic,
        payload: payload.toString('hex'),
        qos: packet.qos,
        retain: packet.retain,
        properties: this.version === 5 ? incoming(packet.properties) : {},
      },
    }));
    return new Promise((resolve, reject) => {
      this.mqtt.once('connect', (packet) => resolve({ code: 0, session_present: packet.sessionPresent }));
      this.mqtt.on('error', (error) => {
        if (typeof error.code === 'number') resolve({ code: error.code, session_present: false });
        else reject(error);
      });
    });
  }

  async subscribe(order) {
    const five = this.version === 5 && {
      nl: order.no_local,
      rap: order.retain_as_published,
      properties: order.identifier === undefined ? {} : { subscriptionIdentifier: order.identifier },
    };
    const [granted] = await this.mqtt.subscribeAsync(order.filter, { qos: order.qos, ...five });
    return { code: granted.qos };
  }

  async unsubscribe(order) {
    await this.mqtt.unsubscribeAsync(order.filter);
    return {};
  }

  async publish(order) {
    const five = this.version === 5 && { properties: outgoing(order.properties) };
    const payload = Buffer.from(order.payload, 'hex');
    await this.mqtt.publishAsync(order.topic, payload, { qos: order.qos, retain: order.retain, ...five });
    return {};
  }

  async burst(order) {
    const sent = [];
    for (let number = 0; number < order.count; number += 1) {
      sent.push(this.mqtt.publishAsync(order.topic, String(number), { qos: order.qos }));
    }
    await Promise.all(sent);
    return {};
  }

  async disconnect() {
    await this.mqtt.endAsync();
    return {};
  }
}

const clients = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    if (order.do === 'connect') clients.set(order.client, new Client(order.client, order));
    say({ n: order.n, ...await clients.get(order.client)[order.do](order) });
  } catch (error) {
    say({ n: order.n, failed: String(error) });
  }
}
process.exit(0);
