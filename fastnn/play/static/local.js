// The connection of a page without a server: a Worker trains, by the same messages and frames.

import { loading } from "./messages.js";
import { unpack } from "./socket.js";

// What the page was exported with: its version, and the addresses of its wheel and of Pyodide's distribution.
const { version, wheel, pyodide } = document.documentElement.dataset;
// A module of WebAssembly with two SIMD instructions, which browsers without SIMD refuse.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** True for a page without a server. */
export const isLocal = wheel !== undefined;

/** One Worker at a time; `handlers` has a function for each type of a message, and `lost`. */
export class LocalConnection {
  constructor(handlers) {
    this.handlers = handlers;
    this.worker = null;
    this.table = null; // the table that is open, with which a Worker that is lost is replaced
    this.maxBytes = Infinity;
  }

  open() {
    this.close();
    if (!globalThis.Worker || !globalThis.WebAssembly?.validate(new Uint8Array(SIMD))) {
      this.lose("This browser lacks Workers, or WebAssembly with SIMD, in which the playground trains.");
      return;
    }
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      if (worker === this.worker) this.receive(typeof data === "string" ? JSON.parse(data) : unpack(data));
    };
    worker.onerror = ({ message }) => {
      if (worker !== this.worker) return;
      const reason = message?.trim().split("\n").at(-1) ?? "it cannot be loaded"; // the last line of Python's errors
      this.lose(`The Worker that trains is lost: ${reason}`);
    };
    this.worker = worker;
    const absolute = (address) => new URL(address, document.baseURI).href;
    worker.postMessage({ wheel: absolute(wheel), pyodide: absolute(pyodide), table: this.table });
  }

  receive(message) {
    if (message.type === "hello") {
      if (message.version !== version) {
        this.lose(`This page is of fastnn ${version}, but its wheel of fastnn ${message.version}: reload the page.`);
        return;
      }
      this.maxBytes = message.max_bytes;
    }
    if (message.type === "loading") loading(message);
    else if (message.type === "fetched") keep(message.addresses);
    else this.handlers[message.type]?.(message);
    if (message.type === "table" && !message.problem) this.table = this.asked ?? this.table;
  }

  close() {
    this.worker?.terminate();
    this.worker = null;
  }

  lose(text) {
    this.close();
    loading({});
    this.handlers.lost({ text, remedy: "Start again" });
  }

  get alive() {
    return this.worker !== null;
  }

  /** Begin anew with a table: a file, or the one that is open; and its target, by default the last column. */
  async openTable(file, target) {
    const { name, content } = file ? { name: file.name, content: await file.arrayBuffer() } : this.table;
    this.asked = { name, content, target };
    this.worker?.postMessage({ table: this.asked });
  }

  /** Send a message; return false if it is longer than a session reads, and is therefore not sent. */
  send(type, fields = {}) {
    const text = JSON.stringify({ type, ...fields });
    if (new TextEncoder().encode(text).length > this.maxBytes) return false;
    this.worker?.postMessage(text);
    return true;
  }
}

/** Let the service worker keep what the Worker has fetched, so that the page opens without a network. */
async function keep(addresses) {
  (await navigator.serviceWorker?.ready)?.active.postMessage(addresses);
}

if (isLocal) navigator.serviceWorker?.register("service-worker.js").catch(() => {}); // a browser may forbid storage
