// The page: signs in, shows what `home.js` knows, and sends what is pressed by `line.js`.
//
// Invariants: whatever came over the line becomes text, never markup; only what changed is written, so that a screen
// reader says it once and a finger does not miss its button; the login stays in this browser, in the tab alone unless
// somebody asks for more.

import { Homes, controls, lastHeard, plain, title, values } from './home.js';
import { Line } from './line.js';

const KEY = 'hearthlink';
const element = (id) => document.getElementById(id);
const form = element('sign-in');
let homes = null;
let line = null;
let downSince = null;
let isDrawn = false;

/** The login of this tab, or the one that stays. */
function remembered() {
  for (const store of [sessionStorage, localStorage]) {
    try {
      const login = JSON.parse(store.getItem(KEY));
      if (login?.address) return login;
    } catch {
      store.removeItem(KEY);
    }
  }
  return null;
}

function forget() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function clock(moment) {
  const day = new Date(moment).toDateString() === new Date().toDateString();
  return new Intl.DateTimeFormat(undefined, day ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' }).format(moment);
}

function say(sentence, tone) {
  write(element('line'), sentence);
  element('line').className = tone;
}

function showForm(login, why = '') {
  for (const name of ['address', 'user', 'prefix', 'sender']) if (login?.[name]) form.elements[name].value = login[name];
  form.hidden = false;
  // What is kept can be forgotten.
  element('leave').hidden = remembered() === null;
  element('gateways').replaceChildren();
  say(why, 'bad');
}

function begin(login) {
  homes = new Homes(login.prefix);
  downSince = null;
  form.hidden = true;
  element('leave').hidden = false;
  say('Looking for the cloud …', 'quiet');
  line = new Line(login, homes.filters(), {
    up: () => {
      downSince = null;
      say('Connected to the cloud.', 'good');
      draw();
    },
    down: () => {
      downSince ??= Date.now();
      say(`No line to the cloud since ${clock(downSince)}. It is tried again; what stands here may be old.`, 'bad');
      draw();
    },
    refused: (why, isLoginWrong) => {
      if (isLoginWrong) forget();
      showForm(login, why);
    },
    message: (topic, payload, isRetained) => {
      const outcome = homes.take(topic, payload, isRetained, Date.now());
      if (outcome) line.settle(outcome);
      draw();
    },
  });
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const text = (name) => form.elements[name].value.trim();
  const login = {
    address: text('address'), user: text('user'), password: form.elements.password.value,
    prefix: text('prefix').replace(/^\/+|\/+$/g, '') || 'hearthlink', sender: text('sender'),
  };
  let url = null;
  try {
    url = new URL(login.address);
  } catch { /* said below */ }
  // Without TLS a password is for everybody on the way; on this machine there is no way.
  const isSafe = url?.protocol === 'wss:' || (url?.protocol === 'ws:' && ['localhost', '127.0.0.1'].includes(url.hostname));
  if (!isSafe) return say('The address of the broker begins with wss://, such as wss://cloud.example/mqtt.', 'bad');
  if (/[+#]/.test(login.prefix) || /[+#/]/.test(login.sender)) return say('Neither the beginning of the topics nor the sender may have + or #.', 'bad');
  forget();
  (form.elements.stay.checked ? localStorage : sessionStorage).setItem(KEY, JSON.stringify(login));
  form.elements.password.value = '';
  return begin(login);
});

element('leave').addEventListener('click', () => {
  line?.end();
  forget();
  showForm(null);
  form.elements.address.focus();
});

/** Draws once a frame, however much comes. */
function draw() {
  if (isDrawn) return;
  isDrawn = true;
  requestAnimationFrame(() => {
    isDrawn = false;
    if (form.hidden) drawGateways();
  });
}

/** The children of `parent` are those of `items`, in this order; each is made once, by its `id`, which no other item has. */
function keep(parent, items, makeOne, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const node = old.get(item.id) ?? makeOne(item);
    node.dataset.key = item.id;
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
    update(node, item);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
}

const byId = (one, other) => (one.id < other.id ? -1 : 1);

function drawGateways() {
  const all = [...homes.gateways.values()].filter(({ isOnline, devices }) => isOnline !== null || devices.size > 0).sort(byId);
  keep(element('gateways'), all, makeGateway, (node, gateway) => {
    const presence = node.querySelector('.presence');
    const heard = lastHeard(gateway);
    presence.className = `presence ${gateway.isOnline === true ? 'good' : gateway.isOnline === false ? 'bad' : 'quiet'}`;
    write(presence, gateway.isOnline === true ? 'The gateway is online.'
      : gateway.isOnline === null ? 'The gateway has not said whether it is there.'
        : gateway.since ? `The gateway is offline since ${clock(gateway.since)}.`
          : `The gateway is offline${heard ? `; it was last heard from at ${clock(heard)}` : ''}.`);
    const isStale = gateway.isOnline !== true || downSince !== null;
    // A device is there once somebody said so: other topics look like a state, too.
    const devices = [...gateway.devices.values()].filter(({ about, isAvailable }) => about || isAvailable !== null).sort(byId);
    keep(node.querySelector('.devices'), devices, () => makeDevice(), (item, device) => drawDevice(item, gateway, device, isStale));
  });
}

function makeGateway({ id }) {
  const node = make('section');
  const heading = make('h2', '', id);
  heading.id = `gateway-${id}`;
  node.setAttribute('aria-labelledby', heading.id);
  const presence = make('p', 'presence');
  presence.setAttribute('role', 'status');
  node.append(heading, presence, make('ul', 'devices'));
  return node;
}

function makeDevice() {
  const node = make('li');
  const outcome = make('p', 'outcome');
  outcome.setAttribute('role', 'status');
  node.append(make('h3'), make('p', 'availability'), make('dl'), make('div', 'controls'), outcome);
  return node;
}

function drawDevice(node, gateway, device, isStale) {
  node.classList.toggle('stale', isStale || device.isAvailable === false);
  write(node.querySelector('h3'), title(device.id));
  const availability = node.querySelector('.availability');
  write(availability, device.isAvailable === false ? 'Not reachable' : '');
  availability.className = 'availability bad';
  availability.hidden = device.isAvailable !== false;
  keep(node.querySelector('dl'), values(device), () => {
    const row = make('div');
    row.append(make('dt'), make('dd'));
    return row;
  }, (row, { name, value }) => {
    write(row.children[0], name);
    write(row.children[1], value);
  });
  const offered = controls(device);
  const holder = node.querySelector('.controls');
  const shape = JSON.stringify(offered);
  if (holder.dataset.shape !== shape) {
    holder.dataset.shape = shape;
    holder.replaceChildren(...offered.map((control) => makeControl(node, gateway.id, device, control)));
  }
  for (const button of holder.querySelectorAll('button[data-value]')) {
    button.setAttribute('aria-pressed', String(button.dataset.value === JSON.stringify(device.state[button.dataset.field])));
  }
}

function makeControl(node, gatewayId, device, { field, name, set }) {
  const group = make('fieldset');
  group.append(make('legend', '', name));
  const send = (value) => {
    const outcome = node.querySelector('.outcome');
    line.send(gatewayId, device.id, field, value, (sentence, isGood) => {
      write(outcome, sentence);
      outcome.className = `outcome ${isGood === null ? 'quiet' : isGood ? 'good' : 'bad'}`;
    });
  };
  const button = (text, press) => {
    const it = make('button', '', text);
    it.type = 'button';
    it.addEventListener('click', press);
    group.append(it);
    return it;
  };
  if (set.press !== undefined) {
    button('Press', () => send(set.press)).setAttribute('aria-label', `Press ${name}`);
  } else if (Array.isArray(set.one_of) && set.one_of.length <= 4) {
    for (const value of set.one_of) {
      const it = button(plain(value), () => send(value));
      it.dataset.field = field;
      it.dataset.value = JSON.stringify(value);
    }
  } else if (Array.isArray(set.one_of)) {
    const choice = make('select');
    choice.setAttribute('aria-label', name);
    choice.append(...set.one_of.map((value) => make('option', '', plain(value))));
    group.append(choice);
    button('Set', () => send(set.one_of[choice.selectedIndex])).setAttribute('aria-label', `Set ${name}`);
  } else if (typeof set.min === 'number' && typeof set.max === 'number') {
    const number = make('input');
    const step = typeof set.step === 'number' ? set.step : 'any';
    Object.assign(number, { type: 'number', min: set.min, max: set.max, step, inputMode: 'decimal' });
    number.setAttribute('aria-label', `${name}, from ${set.min} to ${set.max}`);
    const now = device.state[field];
    if (typeof now === 'number') number.value = now;
    group.append(number);
    button('Set', () => {
      if (number.value !== '' && number.reportValidity()) send(number.valueAsNumber);
    }).setAttribute('aria-label', `Set ${name}`);
  }
  return group;
}

// The shell alone, so that the page opens without a line; never what came over it.
if ('serviceWorker' in navigator && window.isSecureContext) navigator.serviceWorker.register('worker.js');

const login = remembered();
if (login) begin(login);
else showForm(null);
