/* The answer browser: filters, table and detail view; the data come as plain scripts.

   Every script in data/ calls `answers(name, payload)`. The index is loaded with the page, parts when an answer is
   opened. Received text is always inserted as text, never as markup. */
"use strict";
(() => {
  const MEANINGS = {
    answered: "A choice was read from the reply.",
    refused: "The model declined to answer.",
    unparsable: "The reply is complete, but the rules find no clear choice in it.",
    truncated: "The reply was cut off before its choice.",
    failed: "No reply was received.",
  };
  const FACETS = { arm: "Arm, task or mode", examples: "Examples in the prompt", value: "Value", dimension: "Dimension" };
  const OUTCOMES = { target: "the right option", other: "the other option", none: "no choice, or none is right" };
  // Names of the fields of an address, for messages about links to something that does not exist.
  const NAMED = {
    study: "a study", model: "a model", arm: "an arm, task or mode", examples: "a number of examples", value: "a value",
    dimension: "a dimension", status: "a status", read: "a reading", answer: "an answer",
  };
  const $ = (id) => document.getElementById(id);

  // Parts: each is a script that is added once; its call to `answers` resolves the promise.
  const parts = new Map();
  const arrivals = new Map();
  window.answers = (name, payload) => {
    if (name === "index") start(payload);
    else arrivals.get(name)(payload);
  };
  function load(name) {
    if (!parts.has(name)) {
      parts.set(name, new Promise((resolve, reject) => {
        arrivals.set(name, resolve);
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onerror = () => {
          parts.delete(name);
          reject(new Error(`data/${name}.js could not be loaded`));
        };
        document.head.append(script);
      }));
    }
    return parts.get(name);
  }
  const partName = (kind, part) => `${kind}-${String(part).padStart(3, "0")}`;
  /** The part of a kind that holds a row, and the row's position in it. */
  async function row(kind, starts, number) {
    let part = starts.length - 1;
    while (starts[part] > number) part -= 1;
    const payload = await load(partName(kind, part));
    return { payload, place: number - payload.first };
  }

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  let index, rows, shown, grid, selected = -1, comes = false;
  const labels = {};

  function start(payload) {
    index = payload;
    for (const facet of Object.keys(FACETS)) mergeLabels(facet);
    for (const study of index.studies) study.repeats = hasRepeats(study);
    rows = flatten();
    buildFilters();
    buildGrid();
    const asked = location.hash;
    readAddress(asked);
    // Without a request in the address, show the first answer as an example.
    if ((asked.length < 2 || isPlace(asked)) && rows.count) grid.setActiveCell(0, 0);
    // The page itself changes the address with replaceState, which fires no event. Read the address from the event:
    // an answer that loads late may have replaced location.hash since.
    window.addEventListener("hashchange", (event) => {
      const { hash } = new URL(event.newURL);
      // A link within the page, such as the skip link, leaves the view as it is.
      if (isPlace(hash)) writeAddress();
      else readAddress(hash);
    });
    const hidden = index.studies.reduce((sum, study) => sum + study.hidden, 0);
    if (hidden) $("hidden").textContent = `${hidden.toLocaleString("en")} recorded answers to other prompts are not shown.`;
  }

  /** Merge the labels of all studies into one list; each study keeps a map from its own numbers to the common ones. */
  function mergeLabels(facet) {
    const all = [...new Set(index.studies.flatMap((study) => study.facets[facet]?.labels ?? []))];
    const number = (text) => Number.parseFloat(text);
    all.sort((a, b) => number(a) - number(b) || (a < b ? -1 : a > b ? 1 : 0));
    labels[facet] = all;
    for (const study of index.studies) {
      const own = study.facets[facet];
      if (own) own.common = own.labels.map((label) => all.indexOf(label));
    }
  }

  /** Flatten all answers into four parallel arrays; a code of -n stands for n slots that were not asked. */
  function flatten() {
    for (const entry of index.studies.flatMap((study) => study.models)) {
      entry.codes = entry.codes.flatMap((code) => (code < 0 ? Array(-code).fill(-1) : code));
    }
    const count = index.studies.reduce((sum, study) =>
      sum + study.models.reduce((part, entry) => part + entry.codes.filter((code) => code >= 0).length, 0), 0);
    const made = { count, study: new Uint8Array(count), entry: new Uint16Array(count), slot: new Uint32Array(count), code: new Uint32Array(count) };
    let place = 0;
    index.studies.forEach((study, s) => study.models.forEach((entry, m) => entry.codes.forEach((code, slot) => {
      if (code < 0) return;
      made.study[place] = s;
      made.entry[place] = m;
      made.slot[place] = slot;
      made.code[place] = code;
      place += 1;
    })));
    shown = Uint32Array.from({ length: count }, (_, number) => number);
    return made;
  }

  const at = (column, slot) => (column === 0 ? 0 : column[slot]);
  const facetLabels = (study, facet, item) => {
    const own = study.facets[facet];
    return own ? own.of.map((column) => own.labels[column[item]]).filter((label) => label !== undefined) : [];
  };
  function facts(number) {
    const study = index.studies[rows.study[number]], entry = study.models[rows.entry[number]], slot = rows.slot[number];
    const item = at(study.slots.item, slot), [status, choice] = index.readings[rows.code[number]];
    const [target] = facetLabels(study, "target", item);
    return {
      study, entry, slot, item, status, choice, target, id: study.items[item], model: index.models[entry.model][0],
      family: index.models[entry.model][1], repeat: at(study.slots.repeat, slot), turn: at(study.slots.turn, slot),
    };
  }
  const outcome = (status, choice, target) =>
    status !== "answered" || target === undefined ? "none" : choice === target ? "target" : "other";

  // Filters.
  function buildFilters() {
    const form = $("filters");
    const plain = (texts) => texts.map((text) => [text, text]);
    const statuses = Object.keys(MEANINGS).filter((status) => index.readings.some(([one]) => one === status));
    const fields = [
      ["study", "Study", index.studies.map((study) => [study.name, study.title])],
      ["model", "Model", plain(index.models.map(([name]) => name).sort())],
      ...Object.entries(FACETS).map(([facet, label]) => [facet, label, plain(labels[facet])]),
      ["status", "Status", plain(statuses)],
      ["read", "Read as", Object.entries(OUTCOMES)],
    ];
    for (const [name, label, options] of fields) {
      const select = element("select", { id: `filter-${name}`, name }, new Option("all", ""));
      select.append(...options.map(([value, text]) => new Option(text, value)));
      if (options.length) form.append(field(select, label));
    }
    const search = element("input", { id: "filter-item", name: "item", type: "search", spellcheck: false });
    form.append(field(search, "Words of the prompt or item"));
    form.append(element("div", {}, element("button", { type: "reset", id: "clear", textContent: "Clear all filters" })));
    form.addEventListener("input", () => filterIn(60));
    form.addEventListener("reset", () => filterIn(0));
    form.addEventListener("submit", (event) => event.preventDefault());
  }
  let soon;
  function filterIn(milliseconds) {
    clearTimeout(soon);
    soon = setTimeout(filter, milliseconds);
  }
  const field = (control, label) =>
    element("div", {}, element("label", { htmlFor: control.id, textContent: label }), control);

  function wanted() {
    const found = {};
    for (const control of $("filters").elements) {
      if (!control.name) continue;
      control.classList.toggle("in-use", control.value !== "");
      if (control.value !== "") found[control.name] = control.value;
    }
    return found;
  }

  /** For each study, which items have the search words in their prompts; computed once all parts are loaded. */
  const searched = new Map();
  const LEAST = 3;
  async function search(needle) {
    const all = (kind, starts) => Promise.all(starts.map((_, part) => load(partName(kind, part))));
    const [pieces, prompts, ...items] = await Promise.all([
      all("texts", index.textParts), all("prompts", index.promptParts),
      ...index.studies.map((study) => all(`items-${study.name}`, study.itemParts)),
    ]);
    const fragments = pieces.flatMap((part) => part.rows).map((text) => text.toLowerCase()), holds = [];
    for (const part of prompts) {
      let sequence = [];
      for (const [shared, ...rest] of part.rows) {
        sequence = sequence.slice(0, shared).concat(rest);
        holds.push(sequence.map((fragment) => fragments[fragment]).join("").includes(needle));
      }
    }
    searched.set(needle, items.map((parts) => parts.flatMap((part) => part.turns.map((turns) => turns.some((text) => holds[text])))));
  }
  function searchPrompts(needle) {
    if (needle.length < LEAST || searched.has(needle)) return;
    const isWanted = () => wanted().item?.trim().toLowerCase() === needle;
    $("count").textContent = "Searching the prompts …";
    search(needle).then(() => { if (isWanted()) filter(); }, (error) => { if (isWanted()) $("count").textContent = error.message; });
  }

  /** Filter the items first (a few thousand), then the answers, which takes only look-ups. */
  function filter() {
    const want = wanted();
    const needle = want.item?.trim().toLowerCase();
    const facets = Object.keys(FACETS).filter((facet) => want[facet] !== undefined);
    const items = index.studies.map((study, s) => {
      const passes = new Uint8Array(study.items.length).fill(want.study === undefined || want.study === study.name ? 1 : 0);
      for (const facet of facets) {
        const own = study.facets[facet], common = labels[facet].indexOf(want[facet]);
        passes.forEach((pass, item) => {
          if (pass && !own?.of.some((column) => own.common[column[item]] === common)) passes[item] = 0;
        });
      }
      const inPrompt = searched.get(needle)?.[s];
      if (needle) study.items.forEach((id, item) => { if (!id.toLowerCase().includes(needle) && !inPrompt?.[item]) passes[item] = 0; });
      return passes;
    });
    const kept = [];
    for (let number = 0; number < rows.count; number += 1) {
      const study = index.studies[rows.study[number]];
      if (want.model !== undefined && index.models[study.models[rows.entry[number]].model][0] !== want.model) continue;
      const item = at(study.slots.item, rows.slot[number]);
      if (!items[rows.study[number]][item]) continue;
      const [status, choice] = index.readings[rows.code[number]];
      if (want.status !== undefined && want.status !== status) continue;
      if (want.read !== undefined) {
        const own = study.facets.target;
        if (outcome(status, choice, own ? own.labels[own.of[0][item]] : undefined) !== want.read) continue;
      }
      kept.push(number);
    }
    show(Uint32Array.from(kept));
    writeAddress();
    if (needle) searchPrompts(needle);
  }

  function show(kept) {
    shown = kept;
    grid.resetActiveCell();
    fitColumns();
    grid.setData(provider, true);
    grid.invalidate();
    grid.getContainerNode().setAttribute("aria-rowcount", String(shown.length + 1));
    tabStop();
    const all = rows.count.toLocaleString("en");
    $("count").textContent = shown.length
      ? `${shown.length.toLocaleString("en")} of ${all} answers`
      : `None of ${all} answers passes all filters. Take one back, or clear them all.`;
    updateSteps();
  }

  // Table.
  const provider = { getLength: () => shown.length, getItem: (place) => facts(shown[place]) };
  const list = (found) => found.join(" / ");
  // `need`: width in pixels that shows most of a column. Columns are added by `rank` while there is room, the first three always.
  const COLUMNS = [
    { id: "study", name: "Study", need: 180, rank: 6, text: (one) => one.study.title },
    { id: "model", name: "Model", need: 140, rank: 2, text: (one) => one.model },
    { id: "item", name: "Item", need: 215, rank: 0, text: (one) => one.id },
    { id: "place", name: "Turn", need: 105, rank: 3, text: place },
    { id: "arm", name: "Arm", need: 120, rank: 5, text: (one) => list(facetLabels(one.study, "arm", one.item)) },
    { id: "value", name: "Values", need: 190, rank: 7, text: (one) => list(facetLabels(one.study, "value", one.item)) },
    { id: "dimension", name: "Dimension", need: 110, rank: 8, text: (one) => list(facetLabels(one.study, "dimension", one.item)) },
    { id: "status", name: "Status", need: 95, rank: 4, text: (one) => one.status },
    { id: "choice", name: "Read as", need: 100, rank: 1, text: readAs },
  ].map((column) => ({ ...column, width: column.need, formatter: (_, __, text) => ({ text, toolTip: text }) }));
  const CROWDED = 1.12;
  /** The columns that fit, without those that are empty or that the filters reduce to one word. */
  function columns() {
    const want = wanted(), only = index.studies.find((study) => study.name === want.study);
    let room = $("grid").clientWidth * CROWDED;
    const useful = COLUMNS.filter(({ id }) => id === "place" ? (only ? [only] : index.studies).some(hasPlaces) : (["item", "value"].includes(id) || want[id] === undefined) && !(only && id in FACETS && !only.facets[id]));
    const fitting = [...useful].sort((a, b) => a.rank - b.rank).filter((column) => (room -= column.need) >= 0 || column.rank < 3);
    // Fresh copies, since the component stores the previous widths in them.
    return useful.filter((column) => fitting.includes(column)).map((column) => ({ ...column }));
  }
  /** The repeat and turn of an answer, if its study has several. */
  function place(one) {
    const repeat = one.study.repeats ? [`repeat ${one.repeat + 1}`] : [];
    return [...repeat, ...(one.study.slots.turn !== 0 ? [`turn ${one.turn + 1}`] : [])].join(", ");
  }
  const hasRepeats = ({ slots }) => slots.repeat !== 0 && slots.item !== 0 &&
    slots.repeat.some((repeat, slot) => slot > 0 && slots.item[slot] === slots.item[slot - 1] && repeat !== slots.repeat[slot - 1]);
  const hasPlaces = (study) => study.repeats || study.slots.turn !== 0;
  function readAs(one) {
    if (one.status !== "answered") return one.status;
    const found = outcome(one.status, one.choice, one.target);
    return found === "none" ? one.choice || "text" : `${one.choice}, ${found === "target" ? "right" : "other"}`;
  }

  function buildGrid() {
    grid = new Slick.Grid("#grid", provider, columns(), {
      enableCellNavigation: true, enableColumnReorder: false, enableHtmlRendering: false, enableTextSelectionOnCells: true,
      forceFitColumns: true, rowHeight: 32, dataItemColumnValueExtractor: (one, column) => column.text(one),
    });
    const container = grid.getContainerNode();
    // The component makes each of its panes a tab stop; here the table is one stop, at its active cell.
    for (const pane of container.querySelectorAll("[tabindex]")) pane.removeAttribute("tabindex");
    grid.setFocus = () => grid.getActiveCellNode()?.focus({ preventScroll: true });
    grid.onActiveCellChanged.subscribe((_, { row: active }) => {
      tabStop();
      // The component moves the focus before the active cell; here it follows, and only if it is in the table.
      if (container.contains(document.activeElement)) grid.setFocus();
      if (active !== undefined && active !== null) choose(shown[active]);
    });
    grid.onRendered.subscribe(() => {
      for (const line of container.querySelectorAll(".slick-row")) line.setAttribute("aria-rowindex", String(Number(line.dataset.row) + 2));
    });
    grid.onClick.subscribe(() => { if (stacked()) setTimeout(goToDetail); });
    container.addEventListener("focus", () => grid.getActiveCellNode() || !shown.length || grid.gotoCell(0, 0));
    container.addEventListener("keydown", (event) => {
      // Tab leaves the table; the component would move from cell to cell.
      if (event.key === "Tab" || event.key === "Enter") event.stopPropagation();
      if (event.key === "Enter" && grid.getActiveCellNode()) {
        event.preventDefault();
        goToDetail();
      }
    }, true);
    $("detail").addEventListener("keydown", (event) => { if (event.key === "Escape") goToTable(); });
    new ResizeObserver(() => {
      fitColumns();
      grid.resizeCanvas();
      grid.autosizeColumns();
    }).observe(container);
  }
  function fitColumns() {
    const now = columns(), before = grid.getColumns();
    if (now.length !== before.length || now.some((column, place_) => column.id !== before[place_].id)) grid.setColumns(now);
  }
  function tabStop() {
    const container = grid.getContainerNode(), cell = grid.getActiveCellNode();
    for (const old of container.querySelectorAll(".slick-cell[tabindex='0']")) old.tabIndex = -1;
    container.tabIndex = cell ? -1 : 0;
    if (cell) cell.tabIndex = 0;
  }
  const stacked = () => $("detail").offsetTop >= $("table").offsetTop + $("table").offsetHeight;
  function goToDetail() {
    $("detail-heading").focus({ preventScroll: true });
    comes = true;
    bringDetail();
  }
  /** If the detail is below the table, scroll it into view; again once it is drawn, when the page is long enough. */
  function bringDetail() {
    if (comes && stacked()) $("detail").scrollIntoView({ block: "start" });
  }
  function goToTable() {
    comes = false;
    if (stacked()) $("count").scrollIntoView({ block: "start" });
    (grid.getActiveCellNode() ?? grid.getContainerNode()).focus({ preventScroll: true });
  }

  // Detail.
  const unchosen = { heading: $("detail-heading").textContent, body: [...$("detail-body").childNodes] };
  let pending;
  function chooseNone() {
    selected = -1;
    comes = false;
    clearTimeout(pending);
    $("detail-heading").textContent = unchosen.heading;
    $("detail-body").replaceChildren(...unchosen.body);
  }
  function choose(number) {
    if (number === selected) return;
    selected = number;
    clearTimeout(pending);
    pending = setTimeout(() => detail(number), 40);
  }
  function step(by) {
    const active = grid.getActiveCell();
    const next = (active ? active.row : shown.indexOf(selected)) + by;
    if (next >= 0 && next < shown.length) {
      grid.setActiveCell(next, active ? active.cell : 0);
      grid.scrollRowIntoView(next);
    }
  }
  function updateSteps() {
    const placed = shown.indexOf(selected);
    if ($("previous")) $("previous").disabled = placed < 1;
    if ($("next")) $("next").disabled = placed < 0 || placed === shown.length - 1;
  }

  async function detail(number) {
    const one = facts(number);
    try {
      const [item, turns] = await Promise.all([itemOf(one), conversationOf(number, one)]);
      if (selected !== number) return;
      drawDetail(one, item, turns);
    } catch (error) {
      if (selected === number) $("detail-body").replaceChildren(element("p", { className: "fault", textContent: error.message }));
    }
    writeAddress();
  }

  /** An item: its columns, turns and options. */
  async function itemOf(one) {
    const { payload, place: inPart } = await row(`items-${one.study.name}`, one.study.itemParts, one.item);
    const word = (at_) => payload.names[at_] ?? "";
    const options = (payload.options[inPart] ?? []).map((turn) => turn.map(([label, isTarget, ...marks]) => ({
      label: word(label), isTarget: isTarget === 1, marks: marks.map(([kind, name, role]) => ({ kind: word(kind), name: word(name), role: word(role) })),
    })));
    const columns = payload.columns.map((column, c) => [column, payload.words[payload.rows[inPart][c]]]);
    const [system, ...turns] = await Promise.all(payload.turns[inPart].map((text) => (text < 0 ? null : textOf(text))));
    return { columns, options, system, turns };
  }

  /** The text with a number, joined from the fragments in its sequence. */
  async function textOf(number) {
    const { payload, place: inPart } = await row("prompts", index.promptParts, number);
    let sequence = [];
    for (let before = 0; before <= inPart; before += 1) {
      const [shared, ...rest] = payload.rows[before];
      sequence = sequence.slice(0, shared).concat(rest);
    }
    const found = await Promise.all(sequence.map((fragment) => row("texts", index.textParts, fragment)));
    return found.map(({ payload: part, place: at_ }) => part.rows[at_]).join("");
  }

  async function replyOf(one, slot) {
    const { payload, place: inPart } = await row(one.entry.file, one.entry.parts, slot);
    return Object.fromEntries(payload.columns.map((column, c) => [column, payload.words[payload.rows[inPart][c]] ?? null]));
  }
  /** The replies to this turn and the previous ones; the turns of one repeat are in adjacent slots. */
  function conversationOf(number, one) {
    const slots = Array.from({ length: one.turn + 1 }, (_, turn) => one.slot - one.turn + turn);
    return Promise.all(slots.map((slot) => replyOf(one, slot)));
  }

  function drawDetail(one, item, replies) {
    const last = replies[one.turn], options = item.options[one.turn] ?? [];
    const turns = item.turns.slice(0, one.turn + 1).map((text, turn) =>
      turn ? text.replace(/\{\{reply (\d+)\}\}/g, (_, quoted) => replies[Number(quoted) - 1]?.reply ?? "") : text);
    const question = turns[one.turn];
    const steps = element("div", { className: "steps" },
      button("previous", "Previous", () => step(-1)), button("next", "Next", () => step(1)), button("back", "Back to the table", goToTable));
    $("detail-heading").textContent = [one.id, place(one), one.model].filter(Boolean).join(", ");
    $("detail-body").replaceChildren(
      steps, drawFacts(one), ...drawReading(one, last, options), ...(options.length ? drawOptions(one, options, question) : []),
      heading("Reply"), ...drawReply(last), drawItem(item), heading(turns.length > 1 ? "Conversation up to the reply" : "Prompt"),
      ...drawPrompt(item.system, turns, replies, options));
    $("detail").scrollTop = 0;
    bringDetail();
    updateSteps();
  }
  const heading = (text) => element("h3", { textContent: text });
  const button = (id, text, action) => {
    const made = element("button", { type: "button", id, textContent: text, ariaLabel: id === "back" ? text : `${text} answer` });
    made.addEventListener("click", action);
    return made;
  };
  function terms(pairs) {
    const made = element("dl", { className: "facts" });
    for (const [term, text] of pairs) made.append(element("dt", { textContent: term }), element("dd", { textContent: text }));
    return made;
  }
  const NAMING = /^c\d+\.\w+\.n\d+\.t\d+[ab]$/;
  function drawFacts(one) {
    const of = (facet) => list(facetLabels(one.study, facet, one.item));
    return terms([
      ["Study", one.study.name], ["Item", NAMING.test(one.id) ? `${one.id}: cell, arm, number of examples, test and order` : one.id], ["Model", one.family ? `${one.model} (${one.family})` : one.model],
      ["Arm", of("arm")], ["Values", of("value")], ["Dimension", of("dimension")],
    ].filter(([, text]) => text));
  }
  function drawReading(one, last, options) {
    const found = outcome(one.status, last.choice, one.target);
    const meaning = one.status === "answered" && last.choice === null ? "The reply is the requested text." : MEANINGS[one.status] ?? "";
    const chosen = options.find((option) => isNamed(option, last.choice));
    const choice = last.choice === null ? [] : [["Choice", last.choice]];
    const likely = last.letters === null ? [] : [["Probabilities", `${last.letters}. The most probable letter is the choice.`]];
    const against = found === "none" ? [] : [["Which is", `${OUTCOMES[found]}${shows(chosen)}`]];
    return [heading("How it was read"), terms([["Status", `${one.status}: ${meaning}`], ...choice, ...likely, ...against])];
  }
  const shows = (option) => (option?.marks.length ? `, which shows ${option.marks.map((mark) => mark.name).join(" and ")}` : "");
  function drawReply(last) {
    if (last.error !== null) return [element("p", { textContent: `No reply; the last request failed with ${last.error}.` })];
    const ended = last.finish_reason === null ? [] : [element("p", { className: "hint", textContent: `The endpoint ended it with “${last.finish_reason}”.` })];
    const refusal = last.refusal === null ? [] : [element("p", { className: "speaker", textContent: "Refusal" }), element("pre", { textContent: last.refusal })];
    const begun = last.letters === null ? [] : [element("p", { className: "hint", textContent: "One token was requested." })];
    return [element("pre", { id: "reply", textContent: last.reply ?? "(no text)" }), ...begun, ...refusal, ...ended];
  }

  const isNamed = (option, choice) => option.label === choice || option.label.endsWith(` ${choice}`);
  function drawOptions(one, options, question) {
    const chosen = one.status === "answered" ? one.choice : null;
    const drawn = options.map((option) => {
      const isChosen = chosen !== null && isNamed(option, chosen);
      const title = element("strong", { textContent: option.label });
      const badges = [option.isTarget && element("span", { className: "badge", textContent: "right" }),
        isChosen && element("span", { className: "badge chosen", textContent: "chosen" })].filter(Boolean);
      const kinds = element("ul", { className: "shows", role: "list" }, ...option.marks.map((mark) =>
        element("li", {}, element("mark", { className: mark.kind, textContent: `${mark.kind}: ${mark.name}${mark.role ? ` (${mark.role})` : ""}` }))));
      const isBrief = option.marks.length === 1, span = isBrief ? null : sentence(question, option);
      const text = span ? [element("p", {}, ...clauses(question.slice(...span), option))] : [];
      return element("li", { className: [option.isTarget && "target", isBrief && "brief"].filter(Boolean).join(" ") }, title, ...badges, ...text, kinds);
    });
    const hasRoles = options.some((option) => option.marks.some((mark) => /^[vs][12]$/.test(mark.role)));
    const legend = hasRoles ? [element("p", { className: "hint", textContent: index.roles })] : [];
    return [heading("Options"), element("ul", { className: "options", role: "list" }, ...drawn), ...legend];
  }
  /** Start and end of the sentence in the last line that begins with an option's label. */
  function sentence(text, option) {
    const begin = `\n${option.label}: `, found = `\n${text}`.lastIndexOf(begin);
    if (found < 0) return null;
    const first = found + begin.length - 1, end = text.indexOf("\n", first);
    return [first, end < 0 ? text.length : end];
  }
  /** A sentence with its clauses highlighted by what they show, if it has as many clauses as marks. */
  function clauses(text, option) {
    const opener = text.startsWith(index.opener) ? index.opener : "";
    const found = text.slice(opener.length).split(index.joiner);
    if (found.length !== option.marks.length) return [text];
    return [opener].concat(found.flatMap((clause, c) => [c ? index.joiner : "", element("mark", { className: option.marks[c].kind, textContent: clause })]));
  }

  function drawPrompt(system, turns, replies, options) {
    const drawn = [];
    const say = (speaker, ...content) => {
      if (turns.length > 1 || system !== null) drawn.push(element("p", { className: "speaker", textContent: speaker }));
      drawn.push(element("pre", { className: "prompt" }, ...content));
    };
    if (system !== null) say("System", system);
    turns.forEach((text, turn) => {
      const isLast = turn === turns.length - 1;
      say("User", ...(isLast ? withMarks(text, options) : [text]));
      if (!isLast) say("Assistant", replies[turn].reply ?? "");
    });
    return drawn;
  }
  function withMarks(text, options) {
    const spans = options.map((option) => [sentence(text, option), option]).filter(([span]) => span).sort(([a], [b]) => a[0] - b[0]);
    const pieces = [];
    let done = 0;
    for (const [[first, end], option] of spans) {
      pieces.push(text.slice(done, first), ...clauses(text.slice(first, end), option));
      done = end;
    }
    return [...pieces, text.slice(done)];
  }
  const drawItem = (item) => element("details", {}, element("summary", { textContent: "All columns of the item" }), terms(item.columns));

  // The address stores the filters and the answer, so that a view can be cited.
  function writeAddress() {
    const fields = new URLSearchParams(wanted());
    if (selected >= 0) {
      const one = facts(selected);
      fields.set("answer", [one.study.name, one.model, one.id, one.repeat, one.turn].join("|"));
    }
    history.replaceState(null, "", `#${fields}`);
  }
  const isPlace = (hash) => hash.length > 1 && $(hash.slice(1)) !== null;
  /** Show what an address names, and list what does not exist. */
  function readAddress(hash) {
    const fields = new URLSearchParams(isPlace(hash) ? "" : hash.slice(1));
    const controls = new Map([...$("filters").elements].filter(({ name }) => name).map((control) => [control.name, control]));
    const absent = [];
    for (const [name, control] of controls) {
      control.value = fields.get(name) ?? "";
      if (control.value === (fields.get(name) ?? "")) continue;
      control.value = "";
      absent.push([NAMED[name], fields.get(name)]);
    }
    for (const name of new Set(fields.keys())) {
      if (name === "answer" || controls.has(name)) continue;
      absent.push(Object.hasOwn(NAMED, name) ? [NAMED[name], fields.get(name)] : ["a filter", name]);
    }
    const answer = fields.get("answer"), number = answer === null ? -1 : numberOf(answer);
    if (answer !== null && number < 0) absent.push([NAMED.answer, answer]);
    if (number < 0) chooseNone();
    clearTimeout(soon);
    filter();
    if (absent.length) {
      const told = absent.map(([what, text]) => `This link names ${what} that is not here: ${text}.`);
      $("count").textContent = [`${$("count").textContent.replace(/\.$/, "")}.`, ...told].join(" ");
    }
    if (number < 0) return;
    const placed = shown.indexOf(number);
    if (placed >= 0) {
      grid.setActiveCell(placed, 0);
      grid.scrollRowToTop(placed);
    } else choose(number);
    writeAddress();
  }
  /** The number of the answer with a study, model, item, repeat and turn; -1 if there is none. */
  function numberOf(answer) {
    for (let number = 0; number < rows.count; number += 1) {
      const one = facts(number);
      if (answer === [one.study.name, one.model, one.id, one.repeat, one.turn].join("|")) return number;
    }
    return -1;
  }
})();
