// The connection to the server: JSON messages both ways, and binary frames and files from the server.

// Close code of WebSockets for a server that has no room for another page.
const TRY_AGAIN_LATER = 1013;
const TYPES = { u1: Uint8Array, i4: Int32Array, f4: Float32Array };

/** Unpack a binary message: a header in JSON and the arrays it lists. The arrays are views, not copies. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, [offset, type, shape]] of Object.entries(header.arrays)) {
    const count = shape.reduce((product, side) => product * side, 1);
    arrays[name] = new TYPES[type](buffer, 4 + length + offset, count);
    arrays[name].shape = shape;
  }
  header.arrays = arrays;
  return header;
}

/** One connection at a time; `handlers` has a function for each type of a message, and `lost`. */
export class Connection {
  constructor(handlers) {
    this.handlers = handlers;
    this.socket = null;
    this.maxBytes = Infinity;
  }

  open() {
    const token = new URLSearchParams(location.search).get("token") ?? "";
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/training?token=${encodeURIComponent(token)}`);
    socket.binaryType = "arraybuffer";
    this.socket?.close(); // a second click on "Connect again" takes no second place at the server
    this.socket = socket;
    let greeted = false;
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      const message = typeof data === "string" ? JSON.parse(data) : unpack(data);
      if (message.type === "hello") {
        greeted = true;
        this.maxBytes = message.max_bytes;
      }
      this.handlers[message.type]?.(message);
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      let text = "No server answers. Start “fastnn playground”, then connect.";
      if (greeted) text = "The server has stopped: this is its last picture. Start it again, then connect.";
      else if (event.code === TRY_AGAIN_LATER) text = "The playground has too many pages open: close one of them.";
      this.handlers.lost({ text, remedy: "Connect again" });
    };
  }

  get alive() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Send a message; return false if it is longer than the server reads, and is therefore not sent. */
  send(type, fields = {}) {
    const text = JSON.stringify({ type, ...fields });
    if (new TextEncoder().encode(text).length > this.maxBytes) return false;
    if (this.alive) this.socket.send(text);
    return true;
  }
}
