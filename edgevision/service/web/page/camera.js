// One camera's card: its video, its figures, its controls.

const STATES = {
  running: "Live", connecting: "Connecting", reconnecting: "Reconnecting", frozen: "Image frozen",
  black: "Image black", stopped: "Stopped", ended: "Ended", failed: "Failed",
};
const STAGES = ["decode", "prepare", "inference", "results", "output"];
const KEPT_AGES = 120;
const LONGEST_WAIT_MS = 10000;

// Browsers resolve "." and ".." in a path, so such a name goes into the query.
function cameraPath(before, name, after = "") {
  return /^\.\.?$/.test(name)
    ? `${before}${after}?camera=${encodeURIComponent(name)}`
    : `${before}/${encodeURIComponent(name)}${after}`;
}

export function socketUrl(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}

// Draws frames into a canvas and requests the next one after each: a slow connection gets fewer frames, never older ones.
class Video {
  constructor(canvas, name, onFrame) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.name = name;
    this.onFrame = onFrame;
    this.wanted = false;
    this.socket = null;
    this.waitMs = 500;
    this.timer = 0;
  }

  want(wanted) {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    if (wanted) this.open(); else this.close();
  }

  again() {
    if (this.wanted) { this.close(); this.open(); }
  }

  open() {
    clearTimeout(this.timer);
    const width = Math.round(Math.max(this.canvas.clientWidth, 160) * Math.min(devicePixelRatio, 2));
    const path = cameraPath("/video", this.name);
    const socket = new WebSocket(socketUrl(`${path}${path.includes("?") ? "&" : "?"}width=${width}`));
    socket.binaryType = "blob";
    socket.onopen = () => { socket.send("next"); socket.send("next"); };
    socket.onmessage = (message) => this.draw(socket, message.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (!this.wanted) return;
      this.timer = setTimeout(() => this.open(), this.waitMs * (0.5 + Math.random() / 2));
      this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS);
    };
    this.socket = socket;
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }

  async draw(socket, blob) {
    try {
      const image = await createImageBitmap(blob);
      if (this.socket === socket) {
        if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
          this.canvas.width = image.width;
          this.canvas.height = image.height;
        }
        this.context.drawImage(image, 0, 0);
        this.waitMs = 500;
        this.onFrame();
      }
      image.close();
    } finally {
      if (socket.readyState === WebSocket.OPEN) socket.send("next");
    }
  }
}

// A slider that follows the server's value, except while the user moves it.
export class Threshold {
  constructor(place, label, onChange) {
    const id = `threshold-${Threshold.count = (Threshold.count ?? 0) + 1}`;
    const name = document.createElement("label");
    name.htmlFor = id;
    name.textContent = label;
    this.input = document.createElement("input");
    Object.assign(this.input, { type: "range", id, min: "0", max: "1", step: "0.01", value: "0.25" });
    this.output = document.createElement("output");
    this.output.htmlFor = id;
    this.output.textContent = "–";
    this.back = document.createElement("button");
    Object.assign(this.back, { type: "button", textContent: "by class", hidden: true });
    this.back.setAttribute("aria-label", `${label}: use the bundle's threshold of each class`);
    place.replaceChildren(name, this.input, this.output, this.back);
    this.heldUntil = 0;
    this.timer = 0;
    this.input.addEventListener("input", () => {
      this.heldUntil = performance.now() + 2500;
      this.paint();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => onChange(Number(this.input.value)), 120);
    });
    this.back.addEventListener("click", () => {
      this.heldUntil = 0;
      clearTimeout(this.timer);
      onChange(null);
    });
  }

  // Without a single value, `other` describes it. `classes`: the bundle has a threshold for each class.
  show(value, other, classes) {
    if (performance.now() < this.heldUntil) return;
    this.back.hidden = !classes || other === "by class";
    if (value === null) { this.output.textContent = other; return; }
    this.input.value = value;
    this.paint();
  }

  paint() {
    this.output.textContent = Number(this.input.value).toFixed(2);
    this.input.style.setProperty("--fill", `${100 * this.input.value}%`);
  }
}

export class Camera {
  constructor(name, post) {
    this.name = name;
    this.element = document.getElementById("camera").content.firstElementChild.cloneNode(true);
    this.part = (kind) => this.element.querySelector(`.${kind}`);
    this.part("name").textContent = name;
    this.ages = [];
    this.hasFrame = false;
    this.visible = false;
    this.state = "";
    this.video = new Video(this.part("picture"), name, () => { this.hasFrame = true; this.veil(); });
    this.threshold = new Threshold(this.part("threshold"), "Threshold", (value) =>
      post("/api/threshold", { value, camera: name }));
    this.threshold.input.setAttribute("aria-label", `Threshold of ${name}`);
    this.threshold.back.setAttribute("aria-label", `Threshold of ${name}: use the bundle's threshold of each class`);
    this.button = this.part("switch");
    this.button.addEventListener("click", async () => {
      this.button.disabled = true;
      await post(cameraPath("/api/cameras", name, `/${this.button.dataset.does}`), {});
      this.button.disabled = false;
    });
    const enlarge = this.part("enlarge");
    enlarge.setAttribute("aria-label", `Enlarge ${name}`);
    enlarge.addEventListener("click", () => {
      const large = this.element.classList.toggle("large");
      enlarge.setAttribute("aria-pressed", String(large));
      this.video.again();
    });
  }

  show(camera, boxes, classes) {
    this.state = camera.state;
    this.element.dataset.state = camera.state;
    this.part("state").textContent = STATES[camera.state] ?? camera.state;
    this.part("address").textContent = camera.address === this.name ? "" : camera.address;
    this.part("address").title = camera.address;
    this.part("detail").textContent = camera.detail;
    this.part("detail").hidden = !camera.detail;
    const off = ["stopped", "ended", "failed"].includes(camera.state);
    this.button.dataset.does = off ? "start" : "stop";
    this.button.textContent = off ? "Start" : "Stop";
    this.button.setAttribute("aria-label", `${off ? "Start" : "Stop"} ${this.name}`);
    this.threshold.show(camera.threshold, camera.thresholds ? "by class" : "–", classes);
    this.threshold.output.title = Object.entries(camera.thresholds ?? {})
      .map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ");
    this.part("threshold").hidden = !boxes;
    this.figures(camera);
    this.stages(camera.stages_ms);
    this.counts(camera.counts);
    if (off) { this.hasFrame = false; this.part("seen").textContent = ""; this.ages = []; }
    this.part("history").hidden = this.ages.length === 0;
    this.veil();
    this.look();
  }

  // Video is requested only for visible cards.
  look() {
    const off = ["stopped", "ended", "failed"].includes(this.state);
    this.video.want(this.visible && !document.hidden && !off);
  }

  veil() {
    const why = this.state === "running" ? (this.hasFrame ? "" : "waiting for the first frame")
      : this.state === "" ? "" : (STATES[this.state] ?? this.state).toLowerCase();
    this.part("veil").textContent = why;
  }

  figures(camera) {
    const withheld = Object.values(camera.withheld).reduce((sum, count) => sum + count, 0);
    this.figure("rate", camera.frames_per_s.toFixed(1), "");
    this.figure("p50", milliseconds(camera.age_p50_ms), "ms");
    this.figure("p99", milliseconds(camera.age_p99_ms), "ms");
    this.figure("left", String(camera.dropped + camera.late + camera.missed + withheld), "");
    this.part("left").title = `${camera.dropped} dropped, ${camera.late} late, ${camera.missed} missed, ${withheld} withheld`
      + `; ${camera.outages} outages of ${camera.outage_s} s`;
  }

  figure(kind, value, unit) {
    const small = document.createElement("small");
    small.textContent = value === "–" || !unit ? "" : ` ${unit}`;
    this.part(kind).replaceChildren(value, small);
  }

  stages(times) {
    const known = STAGES.filter((stage) => stage in times);
    const total = known.reduce((sum, stage) => sum + times[stage], 0);
    const bar = this.part("bar");
    const legend = this.part("legend");
    bar.parentElement.hidden = total === 0;
    bar.setAttribute("aria-label", known.map((stage) => `${stage} ${times[stage].toFixed(1)} ms`).join(", "));
    bar.replaceChildren(...known.map((stage) => {
      const piece = document.createElement("span");
      piece.dataset.stage = stage;
      piece.style.flexGrow = String(times[stage] / (total || 1));
      return piece;
    }));
    legend.replaceChildren(...known.map((stage) => {
      const item = document.createElement("li");
      item.dataset.stage = stage;
      item.textContent = `${stage} ${times[stage].toFixed(1)} ms`;
      return item;
    }));
  }

  counts(counts) {
    const list = this.part("counts");
    list.hidden = counts.length === 0;
    list.replaceChildren(...counts.map((count) => {
      const item = document.createElement("li");
      const name = document.createElement("b");
      name.textContent = count.line ?? count.zone;
      item.append(name, "line" in count
        ? ` in ${count.in}, out ${count.out}`
        : ` ${count.inside} inside, ${count.mean_dwell_s.toFixed(0)} s`);
      return item;
    }));
  }

  result(record) {
    const seen = inWords(record);
    this.part("seen").textContent = seen;
    this.part("picture").setAttribute("aria-label", `Live video of ${this.name}: ${seen || "no detections"}`);
    this.ages.push(record.age_ms);
    if (this.ages.length > KEPT_AGES) this.ages.shift();
    const top = Math.max(...this.ages) * 1.1 || 1;
    const step = 120 / (KEPT_AGES - 1);
    const first = KEPT_AGES - this.ages.length;
    const points = this.ages.map((age, i) => `${((first + i) * step).toFixed(1)},${(24 - 22 * age / top).toFixed(1)}`);
    this.part("ages").firstElementChild.setAttribute("points", points.join(" "));
  }

  leave() {
    this.video.want(false);
    this.element.remove();
  }
}

function milliseconds(value) {
  return value === null ? "–" : value.toFixed(value < 10 ? 1 : 0);
}

function inWords(record) {
  if (record.classification) {
    return record.classification.slice(0, 3).map((one) => `${one.class} ${one.score.toFixed(2)}`).join(" · ");
  }
  if (record.segmentation) {
    return record.segmentation.filter((one) => one.share >= 0.005)
      .map((one) => `${one.class} ${Math.round(100 * one.share)} %`).join(" · ");
  }
  if (record.image) return `${record.image.width}x${record.image.height} image`;
  const counts = new Map();
  for (const found of record.detections ?? []) counts.set(found.class, (counts.get(found.class) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`).join(" · ");
}
