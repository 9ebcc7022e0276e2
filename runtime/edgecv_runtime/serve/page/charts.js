"use strict";

// A line chart of the latest values: nothing but a canvas.
class Chart {
  static LENGTH = 150;
  static COLORS = { wait: "#8796a5", preprocess: "#2f8fd8", infer: "#e07a1f", decode: "#3aa76d", age: "#a05bd6" };

  constructor(canvas, legend) {
    this.canvas = canvas;
    this.legend = legend;
    this.series = new Map();
    this.pending = false;
  }

  static color(name) {
    return Chart.COLORS[name] || "#c2455f";
  }

  add(values) {
    for (const [name, value] of Object.entries(values)) {
      if (!this.series.has(name)) this.series.set(name, []);
      const kept = this.series.get(name);
      kept.push(value);
      if (kept.length > Chart.LENGTH) kept.shift();
    }
    if (!this.pending) {
      this.pending = true;
      requestAnimationFrame(() => this.draw());
    }
  }

  clear() {
    this.series.clear();
    this.draw();
  }

  draw() {
    this.pending = false;
    const context = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const top = Chart.ceiling(Math.max(1, ...[...this.series.values()].flat()));
    this.grid(context, width, height, top);
    for (const [name, kept] of this.series) {
      context.strokeStyle = Chart.color(name);
      context.lineWidth = 1.5;
      context.beginPath();
      kept.forEach((value, place) => {
        const x = width - (kept.length - 1 - place) * width / (Chart.LENGTH - 1);
        context.lineTo(x, height - 2 - value / top * (height - 4));
      });
      context.stroke();
    }
    this.explain();
  }

  grid(context, width, height, top) {
    const ink = getComputedStyle(document.body).getPropertyValue("--soft");
    context.fillStyle = context.strokeStyle = ink;
    context.font = "10px system-ui, sans-serif";
    context.lineWidth = 0.25;
    for (const share of [0.5, 1]) {
      const y = height - 2 - share * (height - 4);
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
      context.fillText(String(share * top), 2, y + 10);
    }
  }

  explain() {
    this.legend.replaceChildren(...[...this.series].map(([name, kept]) => {
      const entry = document.createElement("span"), mark = document.createElement("i");
      mark.style.background = Chart.color(name);
      entry.append(mark, `${name} ${kept[kept.length - 1].toFixed(1)}`);
      return entry;
    }));
  }

  // 1, 2 or 5 times a power of ten: the scale does not dance with every value.
  static ceiling(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].find((step) => step * power >= value) * power;
  }
}
