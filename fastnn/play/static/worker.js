// The Worker of a page without a server: Pyodide runs the session that otherwise runs in the server.

// Files that are fetched before the session begins, by parts of their names.
const FILES = ["pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json", "/numpy-", "/fastnn_"];
// Packages of Pyodide's distribution that only some requests need.
const PACKAGES = {
  model: ["safetensors"],
  picture: ["matplotlib"],
  gif: ["matplotlib", "pillow"],
};

let python = null;
let session = null;
let isAwake = false;
let timer = null;
const { port1, port2 } = new MessageChannel();

const post = (type, fields = {}) => postMessage(JSON.stringify({ type, ...fields }));

/** Pass on a message of the session: text, or bytes of Python. */
function send(message) {
  if (typeof message === "string") {
    postMessage(message);
    return;
  }
  const { buffer } = message.toJs();
  message.destroy();
  postMessage(buffer, [buffer]);
}

/** Load Python, NumPy and fastnn, and tell the page how many of the files have come. */
async function load({ wheel, pyodide }) {
  const total = FILES.length + 1;
  let count = 0;
  const text = "Loading Python, NumPy and fastnn";
  post("loading", { text, count, total });
  const observer = new PerformanceObserver((list) => {
    count += list.getEntries().filter(({ name }) => FILES.some((file) => name.includes(file))).length;
    post("loading", { text: count < FILES.length ? text : "Starting Python", count, total });
  });
  observer.observe({ type: "resource", buffered: true });
  const { loadPyodide } = await import(`${pyodide}pyodide.mjs`);
  python = await loadPyodide({ indexURL: pyodide, packages: ["numpy", wheel] });
  observer.disconnect();
}

/** Load the packages that a request needs; return those that Pyodide's distribution lacks. */
async function need(what) {
  const names = (PACKAGES[what] ?? []).filter((name) => !(name in python.loadedPackages));
  if (!names.length) return [];
  post("loading", { text: `Loading ${names.join(" and ")}` });
  await python.loadPackage(names, { messageCallback: () => {}, errorCallback: () => {} }).catch(() => {});
  post("loading");
  return names.filter((name) => !(name in python.loadedPackages));
}

/** Begin a session; with a table that cannot be read, continue the session before. */
async function begin(table) {
  let read; // null would be no None in Python
  if (table) {
    try {
      python.FS.writeFile("/table.csv", new Uint8Array(table.content));
      const [opened, names, notes] = python.pyimport("fastnn.play.table").read_csv("/table.csv", table.target);
      read = opened;
      post("table", { name: table.name, target: opened.target, names: names.toJs(), notes: notes.toJs() });
    } catch (error) {
      post("table", { problem: `${table.name}: ${wording(error)}` });
      if (session) return;
    }
  }
  session?.close();
  session = python.pyimport("fastnn.play.session").Session(send, read);
  session.greet();
  post("loading");
  wake();
}

/** Return the message of an exception of Python. */
const wording = ({ message }) => message.trim().split("\n").at(-1).replace(/^\w+: /, "");

/** Do the next part of the session's work as soon as the messages that have come are read. */
function wake() {
  clearTimeout(timer);
  if (!isAwake) port2.postMessage(null);
  isAwake = true;
}

port1.onmessage = () => {
  isAwake = false;
  const seconds = session.advance();
  if (seconds === 0) wake();
  else if (seconds !== undefined) timer = setTimeout(wake, 1000 * seconds);
};

/** Act on a message of the page: text for the session, or an object of the page's connection. */
async function receive(data) {
  if (typeof data !== "string") {
    if (!python) await load(data);
    await begin(data.table);
    const addresses = performance.getEntriesByType("resource").map(({ name }) => name);
    post("fetched", { addresses });
    return;
  }
  if (!session) return; // the page asks again for all that it wants as soon as it is greeted
  const { type, what } = JSON.parse(data);
  const missing = type === "save" ? await need(what) : [];
  if (missing.length) {
    const text = `This file needs ${missing.join(" and ")}, which cannot be loaded here.`;
    post("error", { field: null, text });
    return;
  }
  session.receive(data);
  wake();
}

onmessage = ({ data }) => receive(data).catch(reportError); // the page is told by its Worker's `onerror`
