// What is known of the homes behind one cloud, from the messages of their gateways. Holds no page and no connection.
//
// Topics (docs/phone.md): <prefix>/<gateway>/bridge/state and, of each device, <device>, <device>/availability,
// <device>/about and <device>/result. Everything here is a stranger's: it is bounded, and never taken for markup.

/** The most devices of all gateways together; what comes beyond is not shown. */
export const MOST_DEVICES = 1000;
/** The longest message that is looked at, in bytes. */
const LONGEST = 64 * 1024;

/** What a gateway's outcomes mean, in a sentence. */
const OUTCOMES = new Map([
  ['applied', 'Done.'],
  ['expired', 'It came too late, so nothing was done. If that happens again, is this device’s clock right?'],
  ['failed', 'The device could not do it'],
  ['refused', 'The home refused it'],
  ['unknown', 'It is not known whether the device did it. It is not tried again.'],
]);

function parse(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

export class Homes {
  constructor(prefix) {
    this.root = `${prefix}/`;
    this.gateways = new Map();
    this.deviceCount = 0;
  }

  /** What must be subscribed to. */
  filters() {
    const below = ['bridge/state', '+', '+/availability', '+/about', '+/result'];
    return below.map((rest) => `${this.root}+/${rest}`);
  }

  /** Takes a message at the time `now` (ms). An outcome is returned: `{ id, sentence, isGood }`; else null. */
  take(topic, payload, isRetained, now) {
    if (!topic.startsWith(this.root) || payload.length > LONGEST) return null;
    const [gatewayId, deviceId, what, more] = topic.slice(this.root.length).split('/');
    if (!gatewayId || !deviceId || more !== undefined) return null;
    const text = new TextDecoder().decode(payload);
    if (deviceId === 'bridge') {
      if (what === 'state') this.presence(gatewayId, text, isRetained, now);
      return null;
    }
    if (what === 'result') return outcome(parse(text));
    const device = this.device(gatewayId, deviceId);
    if (!device) return null;
    if (what === undefined) {
      const state = parse(text);
      if (state) {
        // Each message is the whole state: what is not in it is no more.
        device.state = state;
        device.seen = (typeof state.last_seen === 'string' && Date.parse(state.last_seen)) || device.seen;
      }
    } else if (what === 'availability') {
      device.isAvailable = text === '' ? null : text === 'online';
    } else if (what === 'about') {
      device.about = parse(text);
    }
    return null;
  }

  /** What the gateway, or its last will, says. When it was said is known only of what is seen happening. */
  presence(gatewayId, text, isRetained, now) {
    const gateway = this.gateway(gatewayId);
    const isOnline = text === 'online';
    if (gateway && gateway.isOnline !== isOnline) Object.assign(gateway, { isOnline, since: isRetained ? null : now });
  }

  gateway(id) {
    if (!this.gateways.has(id) && this.gateways.size < MOST_DEVICES) {
      this.gateways.set(id, { id, isOnline: null, since: null, devices: new Map() });
    }
    return this.gateways.get(id);
  }

  device(gatewayId, id) {
    const gateway = this.gateway(gatewayId);
    if (gateway && !gateway.devices.has(id) && this.deviceCount < MOST_DEVICES) {
      gateway.devices.set(id, { id, state: {}, isAvailable: null, about: null, seen: 0 });
      this.deviceCount += 1;
    }
    return gateway?.devices.get(id);
  }
}

/** When a gateway that is away was last heard from, by the newest reading that it took; 0: never. */
export function lastHeard(gateway) {
  return Math.max(0, ...[...gateway.devices.values()].map((device) => device.seen));
}

function outcome(told) {
  if (typeof told?.id !== 'string') return null;
  const sentence = OUTCOMES.get(told.status) ?? 'It did not work.';
  const why = typeof told.detail === 'string' && told.status !== 'expired' && told.status !== 'applied' ? `: ${told.detail}` : '';
  const whole = why ? `${sentence.replace(/\.$/, '')}${why}` : sentence;
  return { id: told.id, sentence: /[.!?]$/.test(whole) ? whole : `${whole}.`, isGood: told.status === 'applied' };
}

/** `energy_total` as `Energy total`. */
export function title(name) {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function name(field) {
  return typeof field.name === 'string' ? field.name : title(field.field);
}

/** A value as text, whatever it is: what JSON makes an object need not be good for `String()`. */
export function plain(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** What its gateway says of a device's fields, each once; nothing yet: what is seen of them. */
function described({ about, state }) {
  const said = about ? about.fields : Object.keys(state).map((field) => ({ field }));
  const seen = new Set();
  return (Array.isArray(said) ? said : [])
    .filter((field) => typeof field?.field === 'string' && !seen.has(field.field) && seen.add(field.field));
}

/** The values of a device that people read: `{ id, name, value }`, in its own order; `id` is the field. */
export function values(device) {
  return described(device)
    .filter(({ field, is_aside, is_event }) => !is_aside && !is_event
      && !['last_seen', 'message_id'].includes(field) && Object.hasOwn(device.state, field))
    .slice(0, 128)
    .map((field) => ({ id: field.field, name: name(field), value: shown(field, device.state[field.field]) }));
}

function shown({ unit, precision }, value) {
  if (value === null) return 'not known';
  if (typeof value === 'object') return plain(value);
  const isRounded = typeof value === 'number' && Number.isInteger(precision);
  const number = isRounded ? value.toFixed(Math.max(0, Math.min(precision, 20))) : plain(value);
  return typeof unit === 'string' ? `${number} ${unit}` : number;
}

/** What may be set from here: `{ field, name, set }`. */
export function controls(device) {
  return described(device)
    .filter(({ set }) => set !== null && typeof set === 'object')
    .slice(0, 128)
    .map((field) => ({ field: field.field, name: name(field), set: field.set }));
}
