"use strict";

const $ = (id) => document.getElementById(id);
const stages = new Chart($("stages"), $("stages-now"));
const age = new Chart($("age"), $("age-now"));
let camera = null; // the one that is shown
let events = null;
let pictures = 0; // makes each address new, or the browser would not ask again
let latest = 0; // when the last outcome came

function watch(name) {
  camera = name;
  stages.clear();
  age.clear();
  latest = 0;
  $("summary").textContent = "";
  $("picture").hidden = true; // until there is one of this camera
  $("picture").removeAttribute("src");
  if (events) events.close();
  const query = name === null ? "" : `camera=${encodeURIComponent(name)}`;
  events = new EventSource(`/events?${query}`);
  events.addEventListener("open", () => {
    showLink(true);
    $("picture").src = `/stream.mjpg?${query}${query && "&"}n=${++pictures}`;
  });
  events.addEventListener("error", () => {
    showLink(false);
    // After a refusal the browser gives up by itself; a device that starts again refuses for a while.
    if (events.readyState === EventSource.CLOSED) retry(name);
  });
  events.addEventListener("outcome", (event) => showOutcome(JSON.parse(event.data)));
  events.addEventListener("state", (event) => showState(JSON.parse(event.data)));
}

function retry(name) {
  const given = events;
  setTimeout(() => given === events && watch(name), 2000);
}

function showLink(up) {
  $("link").textContent = up ? "live" : "no connection";
  $("link").className = up ? "up" : "down";
  if (!up) notify("The device does not answer: what is shown is old.");
}

function showOutcome(outcome) {
  latest = Date.now();
  showLink(true);
  $("picture").hidden = false;
  stages.add(outcome.ms);
  age.add({ age: outcome.age_ms });
  const scores = outcome.result.scores;
  const count = outcome.result.boxes ? `${scores.length} objects: ` : "";
  $("summary").textContent = `frame ${outcome.index} · ${count}${outcome.result.summary}`;
  document.body.dataset.frame = outcome.index;
  document.body.dataset.objects = outcome.result.boxes ? scores.length : "";
}

function showState(state) {
  showSliders(state.sliders);
  const heat = state.temperature === null ? "" : ` · ${state.temperature.toFixed(0)} °C`;
  $("machine").textContent = `${(state.memory / 2 ** 20).toFixed(0)} MiB${heat}`;
  const shown = state.cameras.find((one) => one.name === camera) || state.cameras[0];
  if (!shown) return;
  const quiet = (Date.now() - latest) / 1000;
  camera = shown.name; // the first, where none was asked for
  showCameras(state.cameras);
  if (shown.state !== "running" && shown.state !== "ended") {
    notify(`${shown.name} is ${shown.state}${shown.reason ? `: ${shown.reason}` : ""}. Last frame ${shown.frame_age.toFixed(0)} s ago.`);
  } else if (shown.state === "ended") {
    notify(`${shown.name} has ended.`);
  } else if (latest && quiet > 12) { // a motion gate lets one through every 10 s
    notify(`No result for ${quiet.toFixed(0)} s.`);
  } else {
    notify("");
  }
  if (latest && quiet > 2) $("link").textContent = `live, last result ${quiet.toFixed(0)} s ago`;
}

function notify(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("picture").classList.toggle("old", Boolean(text));
}

function showCameras(cameras) {
  $("states").replaceChildren(...cameras.map((one) => {
    const row = document.createElement("tr");
    const values = [one.name, one.state, `${one.frame_age.toFixed(1)} s`, one.frames_in, one.frames_out, one.dropped, one.reconnects];
    row.append(...values.map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }));
    row.cells[1].className = one.state === "running" ? "good" : one.state === "ended" ? "" : "bad";
    row.title = one.reason ? `${one.source}: ${one.reason}` : one.source;
    return row;
  }));
  if ($("cameras").childElementCount !== cameras.length) {
    $("cameras").replaceChildren(...cameras.map((one) => {
      const button = document.createElement("button");
      button.textContent = one.name;
      button.dataset.camera = one.name;
      button.addEventListener("click", () => watch(one.name));
      return button;
    }));
  }
  for (const button of $("cameras").children) button.setAttribute("aria-pressed", button.dataset.camera === camera);
}

function showSliders(sliders) {
  for (const slider of sliders) {
    const there = document.querySelector(`input[name="${slider.name}"]`) || addSlider(slider);
    if (document.activeElement !== there) { // somebody else may have moved it
      there.value = slider.value;
      there.previousElementSibling.textContent = slider.value.toFixed(2);
    }
  }
  $("sliders").hidden = !sliders.length;
}

function addSlider(slider) {
  const label = document.createElement("label"), value = document.createElement("output");
  const range = document.createElement("input");
  Object.assign(range, { type: "range", name: slider.name, min: slider.low, max: slider.high, step: 0.01 });
  label.append(slider.name.replaceAll("_", " "), value, range);
  label.title = slider.help;
  range.addEventListener("input", () => {
    value.textContent = Number(range.value).toFixed(2);
    send(slider.name, Number(range.value));
  });
  $("sliders").append(label);
  return range;
}

// One request at a time, the last value always: a drag makes dozens a second.
const wanted = {};
let sending = false;
async function send(name, value) {
  wanted[name] = value;
  if (sending) return;
  sending = true;
  while (Object.keys(wanted).length) {
    const body = JSON.stringify(wanted);
    for (const key of Object.keys(wanted)) delete wanted[key];
    try {
      const answer = await fetch("/parameters", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (!answer.ok) notify(await answer.text());
    } catch {
      showLink(false);
    }
  }
  sending = false;
}

addEventListener("load", () => watch(null));
