// The line to the cloud: MQTT 3.1.1 over WebSockets by mqtt.js, which every cloud speaks. Holds no page.
//
// A command carries an id, when it was sent, and how long it lives: a moment alone, by a clock that is fast, would let it run
// long after. Invariant: it is sent when the line is up or not at all, for a press must not come true minutes later.

/** How long a command may take to reach its device, ms. */
export const LIFE = 10_000;
/** How long after that its outcome may still come, ms: the home lets a clock be ten seconds ahead. */
const GRACE = 12_000;
/** Commands whose outcome is waited for. The next one is not sent. */
const MOST_WAITING = 32;

/** Letters and digits that nobody guesses. */
function random() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Line {
  /** `tell` has `up()`, `down()`, `refused(why, isLoginWrong)` and `message(topic, payload, isRetained)`. */
  constructor({ address, user, password, prefix, sender }, filters, tell) {
    this.root = prefix;
    this.sender = sender;
    this.waiting = new Map();
    this.client = globalThis.mqtt.connect(address, {
      clientId: `phone-${random()}`,
      username: user || undefined,
      password: password || undefined,
      protocolVersion: 4,
      clean: true,
      keepalive: 30,
      connectTimeout: 10_000,
      reconnectPeriod: 2_000,
      // A broker that restarts may answer "server unavailable" for a while.
      reconnectOnConnackError: true,
      resubscribe: false,
      // Its other timers need a worker made from a text, which the page's policy forbids.
      timerVariant: 'native',
    });
    this.client.on('connect', async () => {
      try {
        await this.client.subscribeAsync(filters, { qos: 1 });
        tell.up();
      } catch {
        if (this.client.connected) this.refuse(tell, 'The cloud does not let this user read the topics below this beginning.', false);
      }
    });
    this.client.on('message', (topic, payload, packet) => tell.message(topic, payload, packet.retain));
    this.closed = () => tell.down();
    this.client.on('close', this.closed);
    this.client.on('error', ({ code }) => {
      // The codes of a CONNACK: 4 and 5 are a wrong password and no permission; 1 and 2 (the version, the client id) are
      // the same at every try.
      if ([4, 5].includes(code)) this.refuse(tell, 'The cloud does not know this user with this password.', true);
      else if ([1, 2].includes(code)) this.refuse(tell, `The cloud refused the connection (code ${code}).`, false);
    });
  }

  refuse(tell, why, isLoginWrong) {
    this.end();
    tell.refused(why, isLoginWrong);
  }

  end() {
    // This one only: mqtt.js has its own.
    this.client.removeListener('close', this.closed);
    this.client.end(true);
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
    this.waiting.clear();
  }

  /** Asks a device for something. `say(sentence, isGood)` is called as it goes; `isGood` is null until it is over. */
  send(gateway, device, field, value, say) {
    if (!this.client.connected) return say('Not sent: there is no line to the cloud.', false);
    if (this.waiting.size >= MOST_WAITING) return say('Not sent: too many commands are still under way.', false);
    const id = `phone-${random()}`;
    const at = new Date().toISOString();
    const topic = `${this.root}/${gateway}/${device}/set${this.sender ? `/${this.sender}` : ''}`;
    const giveUp = () => {
      this.waiting.delete(id);
      say('No answer in time. It is too late now: it will not happen by surprise.', false);
    };
    this.waiting.set(id, { say, timer: setTimeout(giveUp, LIFE + GRACE) });
    say('On its way …', null);
    this.client.publish(topic, JSON.stringify({ id, [field]: value, at, ttl: LIFE / 1000 }), { qos: 1 });
    return undefined;
  }

  /** An outcome came; it may be somebody else's. */
  settle({ id, sentence, isGood }) {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this.waiting.delete(id);
    waiting.say(sentence, isGood);
  }
}
