// What is known of the homes behind one cloud, from the messages of their gateways. Holds no page and no connection.
//
// Topics (docs/phone.md): <prefix>/<gateway>/bridge/state and, of each device, <device>, <device>/availability,
// <device>/about and <device>/result. Everything here is a stranger's: it is bounded, and never taken for markup.

/** The most devices of all gateways together; what comes beyond is not shown. */
export const MOST_DEVICES = 1000;
/** The longest message that is looked at, in bytes. */
const LONGEST = 64 * 1024;

/** What a gateway's outcomes mean, in a sentence. */
const OUTCOMES = {
  applied: 'Done.',
  expired: 'It came too late, so nothing was done. If that happens again, is this device’s clock right?',
  failed: 'The device could not do it',
  refused: 'The home refused it',
  unknown: 'It is not known whether the device did it. It is not tried again.',
};

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
        // An event is of its moment; a state stands.
        device.state = { ...device.state, ...state };
        device.seen = Date.parse(state.last_seen) || device.seen;
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
  const sentence = OUTCOMES[told.status] ?? 'It did not work.';
  const why = typeof told.detail === 'string' && told.status !== 'expired' && told.status !== 'applied' ? `: ${told.detail}` : '';
  const whole = why ? `${sentence.replace(/\.$/, '')}${why}` : sentence;
  return { id: told.id, sentence: /[.!?]$/.test(whole) ? whole : `${whole}.`, isGood: told.status === 'applied' };
}

/** `energy_total` as `Energy total`. */
export function title(name) {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The values of a device that people read: `{ name, value }`, in its own order. */
export function values(device) {
  const described = Array.isArray(device.about?.fields) ? device.about.fields : [];
  const fields = described.filter((field) => typeof field?.field === 'string' && !field.is_aside);
  const known = new Set(described.map((field) => field?.field));
  const others = device.about ? [] : Object.keys(device.state).filter((field) => !known.has(field));
  return [...fields, ...others.map((field) => ({ field }))]
    .filter(({ field }) => !['last_seen', 'message_id'].includes(field) && device.state[field] !== undefined)
    .slice(0, 128)
    .map((field) => ({ name: String(field.name ?? title(field.field)), value: shown(field, device.state[field.field]) }));
}

function shown({ unit, precision }, value) {
  if (value === null) return 'not known';
  if (typeof value === 'object') return JSON.stringify(value);
  const text = typeof value === 'number' && Number.isInteger(precision) ? value.toFixed(Math.min(precision, 20)) : String(value);
  return typeof unit === 'string' ? `${text} ${unit}` : text;
}

/** What may be set from here: `{ field, name, set }`. */
export function controls(device) {
  const described = Array.isArray(device.about?.fields) ? device.about.fields : [];
  return described
    .filter((field) => typeof field?.field === 'string' && field.set !== null && typeof field.set === 'object')
    .slice(0, 128)
    .map((field) => ({ field: field.field, name: String(field.name ?? title(field.field)), set: field.set }));
}
