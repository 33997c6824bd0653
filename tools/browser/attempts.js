// What a page can do to reach an address: each attempt resolves to what the page could read, or to null, once it is over.
"use strict";

const query = new URLSearchParams(location.search);
// Appended to every URL: a key, where the page is to know one.
const suffix = query.get("suffix") || "";
const http = (name) => `${query.get("target")}/attempt/${name}${suffix}`;

const over = (element, then) =>
  new Promise((resolve) => {
    element.onload = element.onerror = () => resolve(null);
    then(element);
  });

function load(tag, name) {
  const element = document.createElement(tag);
  return over(element, () => {
    element[tag === "link" ? "href" : "src"] = http(name);
    element.rel = "stylesheet";
    document.body.append(element);
  });
}

function submit(name, enctype) {
  const frame = document.createElement("iframe");
  frame.name = `frame-${name}`;
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { action: http(name), method: "post", enctype, target: frame.name });
  form.append(Object.assign(document.createElement("input"), { name: "a", value: "b" }));
  document.body.append(form);
  return over(frame, () => form.submit());
}

async function read(name, options) {
  try {
    const response = await fetch(http(name), options);
    return response.type === "opaque" ? null : `${await response.text()} ${response.headers.get("x-request-id")}`;
  } catch {
    return null;
  }
}

function webSocket(name) {
  return new Promise((resolve) => {
    const socket = new WebSocket(http(name).replace("http://", "ws://"));
    socket.onopen = () => socket.send("from the page");
    socket.onmessage = (message) => {
      socket.onclose = null;
      socket.close();
      resolve(message.data);
    };
    socket.onclose = () => resolve(null);
  });
}

// The other page's location cannot be read once it is of another origin, the target's.
function navigate(name) {
  const other = window.open(http(name));
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      try {
        void other.location.href;
      } catch {
        clearInterval(timer);
        resolve(null);
      }
    }, 20);
  });
}

const form = new FormData();
form.append("file", new Blob(["x"]), "x.txt");

const ATTEMPTS = {
  elsewhere: {
    "text": (name) => read(name, { method: "POST", mode: "no-cors", body: "{}" }),
    "multipart": (name) => read(name, { method: "POST", mode: "no-cors", body: form }),
    "form": (name) => submit(name, "text/plain"),
    "upload-form": (name) => submit(name, "multipart/form-data"),
    "image": (name) => load("img", name),
    "script": (name) => load("script", name),
    "style": (name) => load("link", name),
    "frame": (name) => load("iframe", name),
    "navigation": navigate,
    "cors": (name) => read(name, { method: "POST", body: "{}" }),
    "cors-json": (name) =>
      read(name, { method: "POST", headers: { "content-type": "application/json", "x-more": "y" }, body: "{}" }),
    "websocket": webSocket,
  },
  // The name of this page has become the target's.
  rebound: {
    "rebound-get": (name) => read(name, {}),
    "rebound-json": (name) => read(name, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
    "rebound-image": (name) => load("img", name),
    "rebound-websocket": webSocket,
  },
};

async function run() {
  const kind = query.get("kind");
  if (kind === "rebound") {
    await fetch("/rebind");
  }
  const found = {};
  for (const [name, attempt] of Object.entries(ATTEMPTS[kind])) {
    found[name] = await attempt(name);
  }
  await fetch(query.get("report"), { method: "POST", mode: "no-cors", body: JSON.stringify(found) });
}

window.onload = run;
