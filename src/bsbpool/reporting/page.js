"use strict";

const PALETTE = ["#2f6fb1", "#d9822b", "#4c9a52", "#8e63b5", "#b05a7a", "#3d9aa1", "#8a7b3f",
  "#5b6fd0", "#a0664b", "#6b8e23", "#c0568f", "#50708a"];
const FAILED_ATTEMPT = 1, UNFINISHED = 2;
const LEFT = 78, AXIS = 22, MOST_HEIGHT = 900, CHART = 74;

/* Index of the last number that is at most `value`; -1 if there is none. */
function lastAtMost(numbers, value) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function timeText(us) {
  const size = Math.abs(us);
  if (size >= 1e6) return +(us / 1e6).toPrecision(5) + " s";
  if (size >= 1e3) return +(us / 1e3).toPrecision(5) + " ms";
  return +us.toPrecision(5) + " us";
}

function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < 4) { bytes /= 1024; i += 1; }
  return +bytes.toPrecision(4) + " " + units[i];
}

/* Distance of the ticks of an axis: 1, 2 or 5 times a power of ten. */
function tickWidth(span, most) {
  const rough = span / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough);
  return step * power;
}

/* The rectangles of a row in a range of time; slices that share a pixel are joined. */
function visibleSlices(row, from, to, scale) {
  const found = [];
  const first = Math.max(0, lastAtMost(row.begin, from));
  let right = -1;
  for (let i = first; i < row.begin.length && row.begin[i] <= to; i += 1) {
    const x = (row.begin[i] - from) * scale;
    const end = Math.max(x + 0.5, (row.begin[i] + row.length[i] - from) * scale);
    if (end < 0) continue;
    const bad = row.state[i] === FAILED_ATTEMPT || row.bad.has(row.job[i]) && !row.state[i];
    if (!bad && Math.ceil(end) <= right) continue;
    found.push([x, end - x, i, bad]);
    right = Math.ceil(end);
  }
  return found;
}

class Timeline {
  constructor(box, data) {
    this.box = box;
    this.data = data;
    this.canvas = box.querySelector("canvas");
    this.tip = box.querySelector(".tip");
    this.from = data.from;
    this.to = Math.max(data.to, data.from + 1);
    const failed = new Set(data.failed);
    for (const row of data.rows) row.bad = failed;
    this.rowHeight = Math.max(1, Math.min(18, Math.floor(MOST_HEIGHT / Math.max(1, data.rows.length))));
    this.rowsHeight = Math.min(MOST_HEIGHT, this.rowHeight * data.rows.length);
    this.charts = data.charts.filter((chart) => chart.times.length > 1);
    this.places = new Map(data.critical.map((job) => [job, null]));
    data.rows.forEach((row, r) => row.job.forEach((job, i) => {
      if (this.places.has(job) && !row.state[i]) this.places.set(job, [r, i]);
    }));
    this.listen();
    this.draw();
  }

  get scale() { return (this.width - LEFT) / (this.to - this.from); }
  rowTop(r) { return AXIS + Math.floor(r * this.rowsHeight / this.data.rows.length); }

  listen() {
    const at = (event) => this.from + (event.offsetX - LEFT) / this.scale;
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(at(event), event.deltaY > 0 ? 1.25 : 0.8);
    }, { passive: false });
    this.canvas.addEventListener("dblclick", () => this.show(this.data.from, this.data.to));
    this.canvas.addEventListener("mousedown", (event) => { this.dragged = event.offsetX; });
    window.addEventListener("mouseup", () => { this.dragged = null; });
    this.canvas.addEventListener("mousemove", (event) => {
      if (this.dragged != null) {
        const by = (this.dragged - event.offsetX) / this.scale;
        this.dragged = event.offsetX;
        this.show(this.from + by, this.to + by);
      }
      this.point(event.offsetX, event.offsetY, at(event));
    });
    this.canvas.addEventListener("mouseleave", () => { this.tip.style.display = "none"; });
    window.addEventListener("resize", () => this.draw());
  }

  zoom(center, factor) {
    const span = Math.max(0.01, (this.to - this.from) * factor);
    const left = (center - this.from) / (this.to - this.from);
    this.show(center - span * left, center + span * (1 - left));
  }

  show(from, to) {
    const span = Math.min(to - from, this.data.to - this.data.from);
    this.from = Math.min(Math.max(from, this.data.from), this.data.to - span);
    this.to = this.from + span;
    if (this.to - this.from < 0.01) this.to = this.from + 0.01;
    if (!this.pending) {
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.draw(); });
    }
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.box.clientWidth || 1100;
    const height = AXIS + this.rowsHeight + this.charts.length * CHART + 6;
    this.canvas.width = this.width * ratio;
    this.canvas.height = height * ratio;
    this.canvas.style.height = height + "px";
    const style = getComputedStyle(document.documentElement);
    this.color = (name) => style.getPropertyValue("--" + name).trim();
    const context = this.context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "11px system-ui, sans-serif";
    this.drawAxis(height);
    context.save();
    context.beginPath();
    context.rect(LEFT, AXIS, this.width - LEFT, height);
    context.clip();
    const failed = this.drawSlices();
    this.drawCritical();
    context.fillStyle = this.color("bad");
    for (const rectangle of failed) context.fillRect(...rectangle);
    context.restore();
    this.drawLabels();
    this.charts.forEach((chart, i) => this.drawChart(chart, AXIS + this.rowsHeight + i * CHART));
  }

  drawAxis(height) {
    const context = this.context, step = tickWidth(this.to - this.from, (this.width - LEFT) / 110);
    context.strokeStyle = this.color("edge");
    context.fillStyle = this.color("faint");
    context.textBaseline = "top";
    const zero = this.data.from;
    for (let t = Math.ceil((this.from - zero) / step) * step; t <= this.to - zero; t += step) {
      const x = LEFT + (t + zero - this.from) * this.scale;
      context.beginPath();
      context.moveTo(x, AXIS - 4);
      context.lineTo(x, height);
      context.stroke();
      context.fillText(timeText(t), x + 2, 4);
    }
  }

  /* Draw the slices; return the rectangles of failed jobs, which are never thin. */
  drawSlices() {
    const context = this.context, bad = [];
    const height = Math.max(1, this.rowHeight - (this.rowHeight > 4 ? 2 : 0));
    this.data.rows.forEach((row, r) => {
      const top = this.rowTop(r);
      for (const [x, width, i, failed] of visibleSlices(row, this.from, this.to, this.scale)) {
        if (failed) bad.push([Math.floor(LEFT + x), top, Math.max(2, Math.ceil(width)), height]);
        context.fillStyle = PALETTE[row.kind[i] % PALETTE.length];
        context.fillRect(LEFT + x, top, Math.max(width > 3 ? width - 0.5 : width, 0.7), height);
        if (width > 46 && height > 11) {
          context.fillStyle = "#ffffff";
          context.textBaseline = "middle";
          const name = this.data.kinds[row.kind[i]], fits = Math.floor((width - 6) / 6);
          context.fillText(name.length > fits ? name.slice(0, fits) : name, LEFT + x + 3, top + height / 2);
        }
      }
    });
    return bad;
  }

  drawCritical() {
    const context = this.context;
    context.strokeStyle = this.color("text");
    context.lineWidth = 1.5;
    let last = null;
    for (const job of this.data.critical) {
      const place = this.places.get(job);
      if (!place) continue;
      const [r, i] = place, row = this.data.rows[r];
      const x = LEFT + (row.begin[i] - this.from) * this.scale, width = row.length[i] * this.scale;
      const top = this.rowTop(r), middle = top + this.rowHeight / 2;
      if (x + width >= LEFT && x <= this.width) {
        context.strokeRect(x, top, Math.max(1, width), Math.max(1, this.rowHeight - 2));
      }
      if (last) {
        context.beginPath();
        context.moveTo(...last);
        context.lineTo(x, middle);
        context.stroke();
      }
      last = [x + width, middle];
    }
    context.lineWidth = 1;
  }

  drawLabels() {
    const context = this.context;
    const every = Math.max(1, Math.ceil(13 / Math.max(1, this.rowsHeight / this.data.rows.length)));
    context.fillStyle = this.color("text");
    context.textBaseline = "middle";
    this.data.rows.forEach((row, r) => {
      if (r % every === 0) context.fillText("rank " + row.rank, 4, this.rowTop(r) + Math.max(6, this.rowHeight / 2));
    });
  }

  drawChart(chart, top) {
    const context = this.context, bottom = top + CHART - 6, height = CHART - 22;
    const values = chart.lines.flatMap((line) => line.values);
    const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
    context.fillStyle = this.color("faint");
    context.textBaseline = "top";
    context.fillText(chart.name, 4, top + 6);
    context.fillText("max " + most.toLocaleString("en"), 4, top + 20);
    chart.lines.forEach((line, n) => {
      context.fillStyle = context.strokeStyle = PALETTE[n % PALETTE.length];
      context.fillText(line.name, LEFT + 4 + n * 150, top + 2);
      context.save();
      context.beginPath();
      context.rect(LEFT, top, this.width - LEFT, CHART);
      context.clip();
      context.beginPath();
      let y = null;
      chart.times.forEach((time, i) => {
        const x = LEFT + (time - this.from) * this.scale;
        if (y !== null) context.lineTo(x, y);
        y = bottom - line.values[i] / most * height;
        if (i) context.lineTo(x, y); else context.moveTo(x, y);
      });
      context.stroke();
      context.restore();
    });
  }

  /* The slice of a row at a time, or null. */
  sliceAt(r, time) {
    const row = this.data.rows[r];
    if (!row) return null;
    const slack = 2 / this.scale, i = lastAtMost(row.begin, time + slack);
    return i >= 0 && time <= row.begin[i] + row.length[i] + slack ? i : null;
  }

  point(x, y, time) {
    const r = Math.floor((y - AXIS) * this.data.rows.length / this.rowsHeight);
    const i = x < LEFT || y < AXIS ? null : this.sliceAt(r, time);
    this.tip.style.display = i === null ? "none" : "block";
    if (i === null) return;
    this.tip.textContent = this.describe(this.data.rows[r], i);
    this.tip.style.left = Math.min(x + 14, this.width - 300) + "px";
    this.tip.style.top = y + 14 + "px";
  }

  describe(row, i) {
    const job = row.job[i], lines = [
      this.data.labels[job] || `job ${job} '${this.data.kinds[row.kind[i]]}'`,
      `rank ${row.rank}, began ${timeText(row.begin[i] - this.data.from)}, took ${timeText(row.length[i])}`,
    ];
    if (row.wait[i] > 0) lines.push(`was ready for ${timeText(row.wait[i])} before it began`);
    if (row.bytes[i]) lines.push(`arguments and result: ${sizeText(row.bytes[i])}`);
    if (row.state[i] === FAILED_ATTEMPT) lines.push("an attempt that failed; the job ran again");
    if (row.state[i] === UNFINISHED) lines.push("had not ended when the trace was written");
    return lines.join("\n");
  }
}

/* Show which color stands for which jobs. */
function showKinds(box, kinds) {
  kinds.slice(0, PALETTE.length).forEach((kind, i) => {
    const entry = document.createElement("span"), color = document.createElement("i");
    color.style.background = PALETTE[i];
    entry.append(color, kind);
    box.append(entry);
  });
}

/* Numbers that were written as differences. */
function summed(differences) {
  let sum = 0;
  return differences.map((d) => (sum += d) / 1000);
}

function start() {
  const timelines = [...document.querySelectorAll(".timeline")].map((box) => {
    const number = box.dataset.source;
    const data = JSON.parse(document.getElementById("data-" + number).textContent);
    showKinds(document.getElementById("kinds-" + number), data.kinds);
    for (const row of data.rows) {
      row.begin = summed(row.begin);
      row.length = row.length.map((ns) => ns / 1000);
      row.wait = row.wait.map((ns) => ns / 1000);
    }
    return new Timeline(box, data);
  });
  const slices = timelines.reduce((n, t) => n + t.data.rows.reduce((m, row) => m + row.begin.length, 0), 0);
  document.documentElement.dataset.slices = slices;
  document.documentElement.dataset.ready = Math.round(performance.now());
}

if (typeof document !== "undefined") start();
if (typeof module !== "undefined") module.exports = { lastAtMost, sizeText, summed, tickWidth, timeText, visibleSlices };
