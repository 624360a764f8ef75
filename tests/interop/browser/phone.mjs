// The phone's page as somebody has it: served by a web host that knows nothing but files, with a cloud and a gateway behind
// it that are real.
//
// node phone.mjs SITE BROKER USER PASSWORD FOLDER: tells on its output how far it is, and hears on its input what was done
// to the gateway (tests/browser.rs). Pictures go into FOLDER.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';
import { COLOURS, SCREENS, Visit, conclude, open } from './chromium.mjs';

const [site, broker, user, password, folder] = process.argv.slice(2);
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml',
  '.png': 'image/png', '.webmanifest': 'application/manifest+json',
};

let isSilent = false;
const server = createServer(async (request, response) => {
  if (isSilent) return;
  const path = normalize(new URL(request.url, 'http://localhost').pathname);
  try {
    const body = await readFile(join(site, path.endsWith('/') ? `${path}index.html` : path));
    response.writeHead(200, { 'content-type': TYPES[extname(path) || '.html'] }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = `http://127.0.0.1:${server.address().port}/`;
const also = [new URL(broker).origin];

const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function order(expected) {
  const { value } = await orders.next();
  if (value !== expected) throw new Error(`"${expected}" was to come, and "${value}" came`);
}

const browser = await open();
const visits = [];
let looks = 0;
/** `before` gets the page while there is nothing in it. */
async function visit(wishes, before) {
  const it = await Visit.begin(browser, { ...wishes, also });
  visits.push(it);
  await before?.(it.page);
  await it.go(address);
  return it;
}
async function look(it, what) {
  await it.judge(what, folder);
  looks += 1;
}
async function signIn({ page }, word = password) {
  await page.getByLabel('Cloud broker').fill(broker);
  await page.getByLabel('User').fill(user);
  await page.getByLabel('Password').fill(word);
  await page.getByRole('button', { name: 'Sign in' }).click();
}
const sees = ({ page }, text) => page.getByText(text).first().waitFor();
const device = ({ page }, name) => page.getByRole('listitem').filter({ has: page.getByRole('heading', { name, exact: true }) });
const hears = async (it, name, sentence) =>
  device(it, name).getByRole('status').filter({ hasText: sentence }).waitFor();

const mine = await visit({ screen: 'phone', colour: 'dark' });
await look(mine, 'phone-sign-in');
await signIn(mine, 'a wrong password');
await sees(mine, 'The cloud does not know this user with this password.');
await signIn(mine);
await sees(mine, 'The gateway is online.');
await device(mine, 'Kitchen').getByText(/^-?\d+(\.\d+)? °C$/).waitFor();
await device(mine, 'Toaster').getByRole('button', { name: 'ON' }).waitFor();
await look(mine, 'phone-home');

// A press, and what came of it: that it was done, the state that it made, and what the home does not allow.
await device(mine, 'Toaster').getByRole('button', { name: 'ON', exact: true }).click();
await hears(mine, 'Toaster', 'Done.');
await device(mine, 'Toaster').locator('button[aria-pressed="true"]', { hasText: 'ON' }).waitFor();
await device(mine, 'Toaster').getByRole('spinbutton').fill('4');
await device(mine, 'Toaster').getByRole('button', { name: 'Set Browning' }).click();
await hears(mine, 'Toaster', 'Done.');
await device(mine, 'Toaster').getByText('4', { exact: true }).waitFor();
await device(mine, 'Toaster').getByRole('spinbutton').fill('6');
await device(mine, 'Toaster').getByRole('button', { name: 'Set Browning' }).click();
await hears(mine, 'Toaster', /^The home refused it: .*browning.*6/);
await look(mine, 'phone-refused');
if (await device(mine, 'Kitchen').getByRole('button').count()) mine.find('there is a button for what nobody may set');
const kept = await mine.page.evaluate(() => [sessionStorage.length, localStorage.length]);
if (kept.join() !== '1,0') mine.find(`the login is kept at ${kept} places of session and device`);

// By a clock that is an hour fast nothing happens late: it is not done at all, and why is said.
const sent = [];
const fast = await visit({ screen: 'phone', colour: 'dark' }, (page) => page.on('websocket', (socket) =>
  socket.on('framesent', ({ payload }) => sent.push(String(payload)))));
const ahead = Date.now() + 3_600_000;
await fast.page.clock.setFixedTime(ahead);
await signIn(fast);
await device(fast, 'Toaster').getByRole('button', { name: 'ON', exact: true }).click();
await hears(fast, 'Toaster', /^The home refused it: .* set both clocks\.$/);
const command = JSON.parse(sent.map((frame) => /\{"id".*\}/.exec(frame)?.[0]).find(Boolean));
const { id, ...said } = command;
const wanted = JSON.stringify({ state: 'ON', at: new Date(ahead).toISOString(), ttl: 10 });
if (!id || JSON.stringify(said) !== wanted) fast.find(`the command is ${JSON.stringify(command)} instead of ${wanted}`);
await fast.end();

// A broker that restarts turns people away for a while; who is not wanted is told so, and a login is not wrong for that.
const connack = (code) => Buffer.from([0x20, 2, 0, code]);
let tries = 0;
const early = await visit({ screen: 'phone', colour: 'dark' }, (page) => page.routeWebSocket(broker, (socket) => {
  tries += 1;
  if (tries > 1) socket.connectToServer();
  else socket.onMessage(() => socket.send(connack(3)));
}));
await signIn(early);
await sees(early, 'The gateway is online.');
if (tries !== 2) early.find(`${tries} tries instead of 2`);
await early.end();
const unwanted = await visit({ screen: 'phone', colour: 'dark' }, (page) => page.routeWebSocket(broker, (socket) =>
  socket.onMessage(() => socket.send(connack(2)))));
await signIn(unwanted);
await sees(unwanted, 'The cloud refused the connection (code 2).');
await unwanted.page.getByRole('button', { name: 'Sign out' }).click();
if (await unwanted.page.evaluate(() => sessionStorage.length)) unwanted.find('the login stays after signing out');
await unwanted.end();

// What a stranger says, word for word: it may look odd, and must not stop the page or leave anything behind.
let hear;
const odd = await visit({ screen: 'phone', colour: 'dark' }, (page) => page.routeWebSocket(broker, (socket) => {
  socket.connectToServer();
  hear = (rest, said) => {
    const [topic, payload] = [`hearthlink/stranger/thing${rest}`, JSON.stringify(said)].map((text) => Buffer.from(text));
    const length = 2 + topic.length + payload.length;
    socket.send(Buffer.concat([Buffer.from([0x30, 0x80 | (length % 128), length >> 7, 0, topic.length]), topic, payload]));
  };
}));
await signIn(odd);
await sees(odd, 'The gateway is online.');
const stone = { toString: 1 };
const rows = (text) => device(odd, 'Thing').locator('dl').filter({ hasText: text }).waitFor();
hear('/about', { fields: [
  { field: 'a', name: stone, precision: -1, unit: stone }, { field: 'a', name: 'again' },
  { field: 'b', name: 'Same' }, { field: 'c', name: 'Same' }, { field: 'toString' }, { field: 'pressed', is_event: true },
  { field: 'd', set: { one_of: [stone, 'x'] } }, { field: 'e', name: 'Number', set: { min: 0, max: 1, step: stone } },
] });
hear('', { a: 1.25, b: 1, c: 2, pressed: 'twice', d: 'x', e: 0, last_seen: stone });
hear('/result', { id: 'x', status: 'toString', detail: 'nothing' });
await rows(/^A1Same1Same2DxNumber0$/);
await device(odd, 'Thing').getByRole('spinbutton').waitFor();
hear('', { b: 3, c: 4 });
await rows(/^Same3Same4$/);
hear('', { c: 5 });
await rows(/^Same5$/);
await odd.end();
console.log('pressed and refused');

await order('gone');
await sees(mine, /The gateway is offline since /);
await look(mine, 'phone-offline');
// Somebody who comes later knows only what the last will and the last readings say.
const late = await visit({ screen: 'desk', colour: 'light' });
await signIn(late);
await sees(late, /The gateway is offline; it was last heard from at /);
await look(late, 'phone-offline-later');
await late.end();
console.log('saw it go');

await order('back');
await sees(mine, 'The gateway is online.');

for (const screen of Object.keys(SCREENS)) {
  for (const colour of COLOURS) {
    const bare = await visit({ screen, colour, scripts: false });
    await bare.page.locator('noscript p', { hasText: 'This page needs JavaScript' }).waitFor();
    await look(bare, 'phone-home');
    await bare.end();
    if (screen === 'phone' && colour === 'dark') continue;
    const other = await visit({ screen, colour });
    await signIn(other);
    await device(other, 'Kitchen').getByText(/°C$/).waitFor();
    await look(other, 'phone-home');
    await other.end();
  }
}

// The shell opens where the web host is silent or away, with the login of this tab; signed out, nothing of it is left.
await mine.page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
isSilent = true;
await mine.page.reload();
await sees(mine, 'The gateway is online.');
isSilent = false;
const found = mine.findings.length;
await new Promise((resolve) => {
  server.close(resolve);
  server.closeAllConnections();
});
await mine.page.reload();
await sees(mine, 'The gateway is online.');
// That the host does not answer is in the console, as it should be.
mine.findings.length = found;
await mine.page.getByRole('button', { name: 'Sign out' }).click();
await mine.page.getByLabel('Cloud broker').waitFor();
const left = await mine.page.evaluate(() => sessionStorage.length + localStorage.length);
if (left) mine.find('something is kept after signing out');
await browser.close();
conclude(looks, visits.flatMap(({ findings }) => findings));
process.stdin.destroy();
