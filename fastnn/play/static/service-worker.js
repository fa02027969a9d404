// The service worker of an exported page: what was fetched once is kept, so that the page opens without a network.

// The export writes both: a digest of all files of the page, and their addresses.
const DIGEST = "";
const FILES = ["./"];

const OURS = `fastnn playground at ${registration.scope}: `;
const CACHE = OURS + DIGEST;

addEventListener("install", (event) => {
  // The browser's own cache may have files of another version: ask the host.
  const requests = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

// A new version waits until no page of the old one is open: the files of two versions never meet.
addEventListener("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) if (name.startsWith(OURS) && name !== CACHE) await caches.delete(name);
    await clients.claim();
  };
  event.waitUntil(clean());
});

// What a Worker has fetched before this service worker was there.
addEventListener("message", (event) => {
  const keep = async () => {
    const cache = await caches.open(CACHE);
    const isMissing = await Promise.all(event.data.map(async (address) => !(await cache.match(address))));
    await cache.addAll(event.data.filter((_, k) => isMissing[k]));
  };
  event.waitUntil(keep());
});

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith("http")) return;
  const answer = async () => {
    const cache = await caches.open(CACHE);
    // The browser stores machine code beside WebAssembly in its own cache, but not beside that in ours.
    if (request.url.endsWith(".wasm")) return fetch(request).catch(() => cache.match(request));
    // A page is kept by its own address, whatever follows it; index.html is the page of its folder.
    const page = request.mode === "navigate" && request.url.replace(/(index\.html)?([?#].*)?$/, "");
    const kept = await cache.match(page || request);
    if (kept) return kept;
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  };
  event.respondWith(answer());
});
