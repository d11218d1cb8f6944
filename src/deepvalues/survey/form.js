"use strict";

// Number of open questions that the summary lists; it only counts the rest.
const LISTED = 8;

// Pure functions, which tests can call without a page.

// FNV-1a, then the finalizer of MurmurHash3, so that keys that differ in one character get unrelated hashes.
function hash(text) {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function shuffled(names, key) {
  return names
    .map((name) => [hash(`${key}:${name}`), name])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1))
    .map((pair) => pair[1]);
}

function isCode(text, alphabet, length) {
  const places = [...text].map((character) => alphabet.indexOf(character));
  if (places.length !== length || places.includes(-1)) return false;
  const last = places.pop();
  return places.reduce((sum, place, at) => sum + (at + 2) * place, 0) % alphabet.length === last;
}

function csv(rows) {
  const quoted = (cell) => `"${String(cell).replaceAll('"', '""')}"`;
  return rows.map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

// Why an answer is invalid, or "" if it is not. `values` has the text of each part.
function fault(type, values, total) {
  const numbers = values.map(Number);
  if (type === "choice" || type === "rating") return values[0] ? "" : "Please choose one answer.";
  if (type === "text") return values[0] ? "" : "Please write an answer.";
  if (type === "ranking") {
    if (values.includes("")) return "Please give each one a rank.";
    const twice = numbers.find((rank, at) => numbers.indexOf(rank) !== at);
    return twice ? `Two have rank ${twice}: please use each rank once.` : "";
  }
  if (values.includes("")) return "Please give each one a number of points; 0 is allowed.";
  if (!values.every((value) => /^[0-9]+$/.test(value))) return "Points must be whole numbers, 0 or more.";
  const sum = numbers.reduce((a, b) => a + b, 0);
  return sum === total ? "" : `Your points add up to ${sum}; they must add up to ${total}.`;
}

// The page.

function page() {
  const survey = JSON.parse(document.getElementById("survey").textContent);
  const at = (id) => document.getElementById(id);
  const form = at("form");
  const fieldsets = () => [...form.querySelectorAll("fieldset[data-question]")];
  const inputs = () => [...form.querySelectorAll("input, select, textarea")];
  const storageKey = `deepvalues.survey.${survey.name}.${survey.form}`;
  let begun = "";

  function values(fieldset) {
    const type = fieldset.dataset.type;
    if (type === "choice" || type === "rating") {
      const chosen = fieldset.querySelector("input:checked");
      return [["", chosen ? chosen.value : ""]];
    }
    return [...fieldset.querySelectorAll("[data-part]")].map((box) => [box.dataset.part, box.value.trim()]);
  }

  function faultOf(fieldset) {
    const texts = values(fieldset).map((pair) => pair[1]);
    return fault(fieldset.dataset.type, texts, Number(fieldset.dataset.total));
  }

  function keep() {
    const state = { begun, boxes: {} };
    for (const box of inputs()) {
      const isTick = box.type === "radio" || box.type === "checkbox";
      if (isTick ? box.checked : box.value) state.boxes[box.id] = isTick ? true : box.value;
    }
    try {
      localStorage.setItem(storageKey, JSON.stringify(state));
    } catch {
      at("unkept").hidden = false;
    }
  }

  function restore() {
    let state = null;
    try {
      state = JSON.parse(localStorage.getItem(storageKey));
    } catch {
      at("unkept").hidden = false;
    }
    if (!state) return;
    for (const [id, value] of Object.entries(state.boxes)) {
      if (!at(id)) continue;
      if (value === true) at(id).checked = true;
      else at(id).value = value;
    }
    if (state.begun) show(state.begun);
  }

  function reorder(parent, selector, name, key) {
    const children = new Map([...parent.querySelectorAll(selector)].map((child) => [child.dataset[name], child]));
    const place = [...children.values()].pop()?.nextSibling ?? null;
    for (const id of shuffled([...children.keys()], key)) parent.insertBefore(children.get(id), place);
  }

  function show(code) {
    begun = code;
    const key = `${survey.form}:${code}`;
    reorder(at("blocks"), "[data-block]:not([data-fixed])", "block", key);
    for (const block of form.querySelectorAll("[data-shuffled]")) {
      reorder(block, "fieldset[data-question]", "question", key);
      for (const parts of block.querySelectorAll("[data-parts]")) {
        reorder(parts, "[data-option]", "option", `${key}:${parts.dataset.parts}`);
      }
    }
    at("start").hidden = true;
    at("questions").hidden = false;
    count();
  }

  function count() {
    const all = fieldsets();
    const answered = all.filter((fieldset) => !faultOf(fieldset)).length;
    at("progress").max = all.length;
    at("progress").value = answered;
    at("progress-text").textContent = `${answered} of ${all.length} answered`;
    for (const sum of form.querySelectorAll("output[data-sum]")) {
      const points = values(sum.closest("fieldset")).map((pair) => Number(pair[1]) || 0);
      sum.textContent = points.reduce((a, b) => a + b, 0);
    }
  }

  function say(box, text) {
    at(`${box}-fault`).textContent = text;
    at(box).setAttribute("aria-invalid", text ? "true" : "false");
  }

  function begin() {
    const code = at("code").value.trim().toUpperCase();
    const known = isCode(code, survey.alphabet, survey.codeLength);
    say("code", known ? "" : "This is not a code of this survey. Please compare it character by character.");
    say("consent", at("consent").checked ? "" : "Please tick this box if you want to take part.");
    if (!known || !at("consent").checked) {
      at(known ? "consent" : "code").focus();
      return;
    }
    show(code);
    keep();
    at("questions-heading").focus();
  }

  function save(rows) {
    const url = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv;charset=utf-8" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `${survey.name}_${begun}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    at("saved-name").textContent = link.download;
    at("summary").hidden = true;
    at("done").hidden = false;
    at("done-heading").focus();
  }

  function rows() {
    const found = [survey.columns];
    fieldsets().forEach((fieldset, number) => {
      // An invalid answer counts as missing.
      const valid = !faultOf(fieldset);
      for (const [part, value] of values(fieldset)) {
        const answer = valid ? value : "";
        found.push([survey.name, survey.form, begun, number + 1, fieldset.dataset.question, part, answer]);
      }
    });
    return found;
  }

  function finish(event) {
    event.preventDefault();
    const open = [];
    fieldsets().forEach((fieldset, number) => {
      const text = faultOf(fieldset);
      say(fieldset.id, text);
      if (text) open.push([fieldset, `Question ${number + 1}: ${text}`]);
    });
    at("summary").hidden = open.length === 0;
    if (open.length === 0) {
      save(rows());
      return;
    }
    at("summary-heading").textContent =
      open.length === 1 ? "One question is still open" : `${open.length} questions are still open`;
    const more = open.length - LISTED;
    at("summary-list").replaceChildren(...open.slice(0, LISTED).map(([fieldset, text]) => pointer(fieldset, text)));
    at("summary-more").textContent = more > 0 ? `… and ${more} more, each marked above.` : "";
    at("summary-heading").focus();
  }

  function pointer(fieldset, text) {
    const link = document.createElement("a");
    link.href = `#${fieldset.id}`;
    link.textContent = text;
    link.addEventListener("click", (click) => {
      click.preventDefault();
      fieldset.querySelector("input, select, textarea").focus();
      fieldset.scrollIntoView();
    });
    const item = document.createElement("li");
    item.append(link);
    return item;
  }

  function startOver() {
    if (!confirm("Delete all answers on this page and start over?")) return;
    try {
      localStorage.removeItem(storageKey);
    } catch {
      // Nothing was stored, so there is nothing to remove.
    }
    form.reset();
    location.reload();
  }

  form.addEventListener("input", (event) => {
    const fieldset = event.target.closest("fieldset[data-question]");
    if (fieldset && at(`${fieldset.id}-fault`).textContent) say(fieldset.id, faultOf(fieldset));
    keep();
    count();
  });
  form.addEventListener("submit", finish);
  at("begin").addEventListener("click", begin);
  at("code").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    begin();
  });
  at("save-anyway").addEventListener("click", () => save(rows()));
  at("start-over").addEventListener("click", startOver);
  restore();
  at("app").hidden = false;
}

if (typeof document === "undefined") module.exports = { hash, shuffled, isCode, csv, fault };
else page();
