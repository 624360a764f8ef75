// The service worker: keeps the page's own files, so that it opens without a line. It never sees what comes from the
// broker, and no login.

// Named after what is in the files (tests/phone.rs says how), so that a new version of one of them is a new shell.
const SHELL = 'hearthlink-phone-a926f9330510e5a7';
/** How long the web host may take to answer before the page comes from the shell, ms: a line that is there may be dead. */
const LIMIT = 4_000;
const FILES = [
  './', 'index.html', 'phone.css', 'phone.js', 'home.js', 'line.js', 'mqtt-5.16.0.min.js', 'manifest.webmanifest',
  'icon.svg', 'icon-192.png', 'icon-512.png',
];

self.addEventListener('install', (event) => {
  // Past the browser's own cache, which may have a file's last version.
  const files = FILES.map((name) => new Request(name, { cache: 'reload' }));
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(files)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const isOld = (name) => name.startsWith('hearthlink-phone-') && name !== SHELL;
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
    .then(() => self.clients.claim()));
});

/** Pages that came from the shell: their files come from there too, of the same version and without waiting once more. */
const fromShell = new Set();

const shell = (request) => caches.match(request, { ignoreSearch: true });
const late = () => new Promise((resolve) => { setTimeout(resolve, LIMIT); });

async function page({ request, resultingClientId }) {
  const asked = fetch(request);
  const answer = await Promise.race([asked, late()]).catch(() => undefined);
  if (answer) return answer;
  const kept = await shell(request);
  if (!kept) return asked.catch(() => Response.error());
  fromShell.add(resultingClientId);
  return kept;
}

async function file({ request, clientId }) {
  const kept = fromShell.has(clientId) ? await shell(request) : undefined;
  return kept ?? fetch(request).catch(async () => (await shell(request)) ?? Response.error());
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== location.origin) return;
  // The web host first: who has a line has the newest page.
  event.respondWith(request.mode === 'navigate' ? page(event) : file(event));
});
