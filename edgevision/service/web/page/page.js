// The page: one socket for results and state, and a card for each camera.

import { Camera, Threshold, socketUrl } from "./camera.js";

const RESULTS_PER_S = 5;
const SILENCE_MS = 5000;
const at = (id) => document.getElementById(id);
const cameras = new Map();
let waitMs = 500;
let lastMessageMs = 0;

async function post(path, body) {
  let refusal = "";
  try {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    if (!answer.ok) refusal = (await answer.json()).error;
  } catch {
    refusal = "no answer from the server";
  }
  say("refusal", refusal);
}

function say(id, text) {
  const place = at(id);
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

const all = new Threshold(at("threshold-all"), "Threshold, all", (value) => post("/api/threshold", { value }));

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const camera = [...cameras.values()].find((one) => one.element === entry.target);
    if (camera) { camera.visible = entry.isIntersecting; camera.look(); }
  }
}, { rootMargin: "120px" });

function showState(state) {
  showReadiness(state);
  showFacts(state);
  // Only models with boxes have a threshold.
  const boxes = !state.engine || state.engine.boxes;
  showCameras(state.cameras, boxes, Boolean(state.engine?.thresholds));
  showSinks(state.sinks);
  at("version").textContent = `edgevision ${state.version}, up ${duration(state.up_s)}`;
}

function showReadiness(state) {
  const { phase, ready, share, detail } = state.readiness;
  const pill = at("readiness");
  const failed = phase === "failed" || state.failure !== null || state.stuck_s > 0;
  pill.dataset.kind = failed ? "bad" : ready ? "good" : "wait";
  const text = failed ? "failed" : phase;
  if (pill.textContent !== text) pill.textContent = text;
  const preparing = !failed && (!ready || detail !== "running");
  at("building").hidden = !preparing;
  at("building-text").textContent = detail;
  if (share === null) at("building-share").removeAttribute("value"); else at("building-share").value = share;
  say("failure", state.failure !== null ? `Processing has ended: ${state.failure}`
    : state.stuck_s > 0 ? `The engine has not answered for ${state.stuck_s.toFixed(0)} s` : "");
}

function showFacts(state) {
  const { engine, machine } = state;
  at("model").textContent = engine ? engine.model : "";
  const hottest = machine.temperatures_c.reduce((a, b) => (a && a.value >= b.value ? a : b), null);
  const facts = [];
  if (engine) facts.push(["engine", [engine.library, engine.precision].filter(Boolean).join(", ")]);
  facts.push(["on", machine.hardware]);
  if (hottest) facts.push(["hottest", `${hottest.value.toFixed(0)} °C, ${hottest.name}`]);
  facts.push(["memory", `${bytes(machine.resident_mib)}, ${bytes(machine.available_mib)} free`]);
  at("facts").replaceChildren(...facts.map(([name, value]) => {
    const item = document.createElement("li");
    const strong = document.createElement("b");
    strong.textContent = value;
    item.append(`${name} `, strong);
    return item;
  }));
}

function showCameras(states, boxes, classes) {
  const names = new Set(states.map((state) => state.name));
  for (const [name, camera] of cameras) {
    if (!names.has(name)) { inView.unobserve(camera.element); camera.leave(); cameras.delete(name); }
  }
  const place = at("cameras");
  place.dataset.count = states.length;
  states.forEach((state, index) => {
    let camera = cameras.get(state.name);
    if (!camera) {
      camera = new Camera(state.name, post);
      cameras.set(state.name, camera);
    }
    if (place.children[index] !== camera.element) {
      place.insertBefore(camera.element, place.children[index] ?? null);
      inView.observe(camera.element);
    }
    camera.show(state, boxes, classes);
  });
  const live = states.filter((state) => state.state === "running").length;
  const rate = states.reduce((sum, state) => sum + state.frames_per_s, 0);
  at("summary").textContent = `${live} of ${states.length} ${states.length === 1 ? "camera" : "cameras"} live, ${rate.toFixed(1)} frames/s in all`;
  document.title = `${live}/${states.length} live – edgevision`;
  const values = new Set(states.map((state) => state.threshold));
  const other = states.every((state) => state.thresholds) ? "by class" : "mixed";
  all.show(values.size === 1 ? [...values][0] : null, other, classes);
  at("threshold-all").hidden = states.length < 2 || !boxes;
}

function showSinks(sinks) {
  at("sinks").hidden = sinks.length === 0;
  at("sinks").replaceChildren(...sinks.map((sink) => {
    const item = document.createElement("li");
    item.dataset.state = sink.state;
    const trouble = sink.state === "failing" ? `, failing: ${sink.last_error}` : "";
    item.textContent = `${sink.name}: ${sink.written} written, ${sink.waiting} waiting, ${sink.lost} lost${trouble}`;
    return item;
  }));
}

// Requests the state by HTTP first, because a rejected WebSocket has no reason.
async function connect() {
  try {
    const answer = await fetch("/api/state", { signal: AbortSignal.timeout(SILENCE_MS) });
    if (answer.status === 401) return lost("A token is required; reload the page to enter it.", 10000);
    if (!answer.ok) return lost(`${(await answer.json()).error}; retrying`, 5000);
    showState(await answer.json());
  } catch {
    return lost("Connection lost; retrying");
  }
  const socket = new WebSocket(socketUrl(`/api/results?per_s=${RESULTS_PER_S}`));
  lastMessageMs = performance.now();
  socket.onopen = () => {
    waitMs = 500;
    lastMessageMs = performance.now();
    say("connection", "");
    document.body.classList.remove("lost");
  };
  socket.onmessage = (message) => {
    lastMessageMs = performance.now();
    const record = JSON.parse(message.data);
    if (record.type === "state") showState(record);
    else cameras.get(record.camera)?.result(record);
  };
  // A connection that breaks silently never closes the socket.
  const end = () => {
    clearInterval(watch);
    socket.onclose = null;
    socket.close();
    lost("Connection lost; retrying");
  };
  const watch = setInterval(() => {
    if (performance.now() - lastMessageMs > SILENCE_MS) end();
  }, 1000);
  socket.onclose = end;
}

function lost(why, least = 0) {
  say("connection", why);
  document.body.classList.add("lost");
  at("readiness").dataset.kind = "bad";
  at("readiness").textContent = "no connection";
  setTimeout(connect, Math.max(waitMs * (0.5 + Math.random() / 2), least));
  waitMs = Math.min(waitMs * 2, 5000);
}

function duration(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, unit] = units[first];
  const rest = units[first + 1];
  const whole = `${Math.floor(seconds / size)} ${unit}`;
  return rest && rest[0] > 1 ? `${whole} ${Math.floor((seconds % size) / rest[0])} ${rest[1]}` : whole;
}

function bytes(mib) {
  return mib < 1024 ? `${mib} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}

document.addEventListener("visibilitychange", () => {
  for (const camera of cameras.values()) camera.look();
});
connect();
