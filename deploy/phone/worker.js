// The service worker: keeps the page's own files, so that it opens without a line. It never sees what comes from the
// broker, and no login. A new version of any file needs a new name here.

const SHELL = 'hearthlink-phone-1';
const FILES = [
  './', 'index.html', 'phone.css', 'phone.js', 'home.js', 'line.js', 'mqtt-5.16.0.min.js', 'manifest.webmanifest',
  'icon.svg', 'icon-192.png', 'icon-512.png',
];

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const isOld = (name) => name.startsWith('hearthlink-phone-') && name !== SHELL;
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
    .then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== location.origin) return;
  // The web host first: who has a line has the newest page.
  event.respondWith(fetch(request).catch(() => caches.match(request, { ignoreSearch: true }).then((kept) => kept ?? Response.error())));
});
