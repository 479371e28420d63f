// The episode viewer. Texts of models and worlds are data: they reach the page as text nodes only, never as markup.
"use strict";

(() => {
  const source = document.getElementById("viewer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const byId = (name) => document.getElementById(`viewer-${name}`);
  const filters = byId("filters");
  const parts = Object.fromEntries(
    ["list", "count", "head", "legend", "turns", "turn", "tip"].map((name) => [name, byId(name)]),
  );

  const SIGNALS = [
    ["weight", "weight (gate)"],
    ["signal", "signal"],
    ["gap", "teacher − student"],
    ["entropy", "entropy"],
    ["student", "student's log-probability"],
  ];
  const ABOUT = {
    weight: ["pushes less", "pushes more"],
    signal: ["negative", "positive"],
    gap: ["teacher finds it less likely", "teacher finds it likelier"],
    entropy: ["sure", "unsure"],
    student: ["unlikely", "likely"],
  };
  const NAMES = {
    weight: "weight", signal: "signal", gap: "teacher − student", student: "student, log p",
    teacher: "teacher, log p", behaviour: "when sampled, log p", entropy: "entropy, nats",
  };
  const CLAIMS = { stale: "a wrong statement", true: "statements hold", none: "no statements known" };

  const state = { shown: [], episode: 0, turn: 0 };

  // --- small helpers ---

  const make = (name, options = {}, ...children) => {
    const node = document.createElement(name);
    if (options.class) node.className = options.class;
    if (options.label) node.setAttribute("aria-label", options.label);
    if (options.type) node.type = options.type;
    if (options.scope) node.scope = options.scope;
    if (options.current) node.setAttribute("aria-current", "true");
    if (options.click) node.addEventListener("click", options.click);
    for (const child of children) node.append(child); // strings become text nodes
    return node;
  };
  const text = (number) => data.texts[number] ?? "";
  const figure = (value) =>
    value === null || value === undefined ? "–" : (value < 0 ? "−" : "") + Math.abs(value).toFixed(3);
  const short = (value) => figure(value).replace(/\.?0+$/, "");
  // Calls of tools and their results are JSON. They are laid out as such, a row of a list on a line of its own.
  const readJson = (value) => {
    if (!/^\s*[[{]/.test(value)) return null;
    try {
      return JSON.parse(value);
    } catch {
      return null;
    }
  };
  const isBranch = (one) => one !== null && typeof one === "object";
  const onOneLine = (one) => {
    if (!isBranch(one)) return JSON.stringify(one);
    if (Array.isArray(one)) return `[${one.map(onOneLine).join(", ")}]`;
    return `{${Object.entries(one).map(([name, part]) => `${name}: ${onOneLine(part)}`).join(", ")}}`;
  };
  const laidOut = (one, indent = "") => {
    if (!isBranch(one) || !Object.values(one).some(isBranch)) return onOneLine(one);
    const deeper = `${indent}  `;
    const rows = Array.isArray(one)
      ? one.map((part) => `${deeper}${laidOut(part, deeper)}`)
      : Object.entries(one).map(([name, part]) => `${deeper}${name}: ${laidOut(part, deeper)}`);
    const [open, close] = Array.isArray(one) ? "[]" : "{}";
    return [open, ...rows, indent + close].join("\n");
  };
  // A deep nest stays as it was written.
  const formed = (read, value, form) => {
    try {
      return isBranch(read) ? form(read) : value;
    } catch {
      return value;
    }
  };
  const readable = (value) => formed(readJson(value), value, laidOut);
  const isCall = (read) => isBranch(read) && typeof read.name === "string" && isBranch(read.arguments);
  const callOf = (value) => formed(readJson(value), value, (read) => !isCall(read) ? value
    : `${read.name}(${Object.entries(read.arguments).map(([name, part]) => `${name}: ${onOneLine(part)}`).join(", ")})`);
  // A line about a result: its error, else what it has and how many.
  const about = (value) => formed(readJson(value), firstLine(value), (read) => {
    if (isBranch(read.error) && typeof read.error.code === "string") return `error: ${read.error.code}`;
    return Object.entries(read).map(([name, part]) =>
      Array.isArray(part) ? `${name}: ${part.length}` : `${name}: ${onOneLine(part)}`).join(", ");
  });
  const firstLine = (value) => value.split("\n").filter((line) => line.trim()).pop() ?? "";

  const valuesOf = (turn, signal) => {
    if (signal !== "gap") return turn[signal];
    if (!turn.teacher || !turn.student) return undefined;
    return turn.teacher.map((teacher, i) =>
      teacher === null || turn.student[i] === null ? null : teacher - turn.student[i]);
  };

  // Of a game of several roles, the side that a turn belongs to; nothing for an episode outside games.
  const sideOf = (episode, turn) => (episode.sides ? episode.sides[turn.s ?? 0] : undefined);
  const roleName = (role) => role.replace(/_\d+$/, "");

  const phaseName = (episode) =>
    episode.phase === "train" ? `training, iteration ${episode.iteration + 1}`
      : episode.iteration === 0 ? `${episode.phase}, before training` : `${episode.phase}, after iteration ${episode.iteration}`;

  // --- filters ---

  const fill = (select, choices) => {
    select.replaceChildren(...choices.map(([value, name]) => {
      const option = make("option", {}, name);
      option.value = value;
      return option;
    }));
  };
  const unique = (values) => [...new Set(values)];

  const setUp = () => {
    const everything = ["", "all"];
    const types = unique(data.episodes.map((episode) => episode.type)).sort();
    const claims = unique(data.episodes.map((episode) => episode.claims));
    fill(filters.arm, data.arms.map((arm, index) => [String(index), arm.label]));
    fill(filters.outcome, [everything, ["won", "won"], ["lost", "lost"]]);
    fill(filters.type, [everything, ...types.map((type) => [type, type])]);
    fill(filters.claims, [everything, ...claims.map((kind) => [kind, CLAIMS[kind] ?? kind])]);
    setUpArm();
    filters.arm.addEventListener("change", () => { setUpArm(); choose(); });
    for (const name of ["when", "outcome", "type", "claims"]) filters[name].addEventListener("change", () => choose());
    filters.signal.addEventListener("change", () => { wished = filters.signal.value; showEpisode(); });
    filters.addEventListener("submit", (event) => event.preventDefault());
  };

  // What an arm has decides which moments and which signals can be chosen. A reader's own choice of a signal is kept; what
  // merely stood there, because the arm before had nothing better, is not.
  let wished = "";
  const setUpArm = () => {
    const arm = data.arms[Number(filters.arm.value)];
    const kept = [filters.when.value, wished];
    const own = data.episodes.filter((episode) => episode.arm === Number(filters.arm.value));
    fill(filters.when, [["", "whenever"], ...unique(own.map(phaseName)).map((name) => [name, name])]);
    const known = SIGNALS.filter(([name]) => arm.scales[name]);
    fill(filters.signal, known.length ? known : [["", "nothing was logged"]]);
    [filters.when, filters.signal].forEach((select, index) => {
      if ([...select.options].some((option) => option.value === kept[index])) select.value = kept[index];
    });
  };

  const choose = (wanted) => {
    const arm = Number(filters.arm.value);
    const own = data.episodes.filter((episode) => episode.arm === arm);
    state.shown = own.filter((episode) =>
      (!filters.when.value || phaseName(episode) === filters.when.value)
      && (!filters.outcome.value || episode.success === (filters.outcome.value === "won"))
      && (!filters.type.value || episode.type === filters.type.value)
      && (!filters.claims.value || episode.claims === filters.claims.value));
    state.episode = Math.max(0, state.shown.indexOf(wanted));
    state.turn = 0;
    parts.count.textContent = `${state.shown.length} of ${own.length} episodes`;
    parts.list.replaceChildren(...state.shown.map((episode, index) => make("li", {},
      make("button", { type: "button", click: () => goTo(index, 0) },
        make("span", { class: episode.success ? "won" : "lost" }, episode.success ? "✓" : "✕"),
        make("span", {}, `${episode.type} · ${episode.task}`,
          make("small", {}, `${phaseName(episode)} · ${episode.turns.length} turns`))))));
    showEpisode();
  };

  // --- one episode ---

  const goTo = (episode, turn) => {
    const changed = episode !== state.episode;
    state.episode = episode;
    state.turn = turn;
    if (changed) showEpisode(); else showTurn();
  };

  // The button that had the focus may be gone with the old episode; keys go on to work from the list.
  const visitNumber = (index) => {
    goTo(index, 0);
    parts.list.children[index].firstElementChild.focus({ preventScroll: true });
  };

  const mark = (list, index) => {
    [...list.children].forEach((item, number) => {
      const button = item.firstElementChild;
      if (number === index) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    });
    const item = list.children[index];
    if (item && list.scrollHeight > list.clientHeight) {
      const above = item.offsetTop - list.offsetTop;
      if (above < list.scrollTop || above + item.offsetHeight > list.scrollTop + list.clientHeight) {
        list.scrollTop = above - list.clientHeight / 3;
      }
    }
  };

  const showEpisode = () => {
    const episode = state.shown[state.episode];
    parts.tip.hidden = true;
    if (!episode) {
      parts.head.replaceChildren(make("p", { class: "tone-note" }, "No episode of this arm is like that."));
      for (const name of ["legend", "turns", "turn"]) parts[name].replaceChildren();
      return;
    }
    mark(parts.list, state.episode);
    showHead(episode);
    showLegend(data.arms[episode.arm]);
    parts.turns.replaceChildren(...episode.turns.map((turn, index) => make("li", {},
      make("button", { type: "button", label: `Turn ${index + 1}`, click: () => goTo(state.episode, index) },
        make("span", { class: "number" }, String(index + 1)),
        make("span", {},
          ...(episode.sides ? [make("span", { class: `role side${turn.s}` }, roleName(sideOf(episode, turn).role))] : []),
          make("span", { class: "seen" }, about(text(turn.o))),
          make("span", { class: "said tokens" }, ...tokens(turn, data.arms[episode.arm])),
          ...(episode.wrong === index ? [make("span", { class: "first-wrong" }, "the first wrong turn")] : [])),
        make("span", { class: turn.r > 0 ? "won" : turn.v ? "" : "lost" }, turn.r > 0 ? "✓" : turn.v ? "" : "✕")))));
    showTurn();
  };

  const showHead = (episode) => {
    const arm = data.arms[episode.arm];
    const badge = (said, kind = "") => make("span", { class: kind }, said);
    const outcome = (won) => badge(won ? "✓ won" : "✕ lost", won ? "won" : "lost");
    const statements = (side) => [
      badge(CLAIMS[side.claims] ?? side.claims, side.claims === "stale" ? "stale" : ""),
      ...side.claim_ids.map((claim) => badge(`read ${text(claim)}`))];
    const common = [badge(episode.type), badge(phaseName(episode)), badge(`ended: ${episode.stop}`)];
    const badges = episode.sides
      ? make("p", { class: "badges" }, ...common)
      : make("p", { class: "badges" }, outcome(episode.success), ...common, ...statements(episode));
    const sides = (episode.sides ?? []).map((side, index) => make("p", { class: "badges side" },
      make("b", { class: `role side${index}` }, roleName(side.role)), make("em", {}, side.goal),
      outcome(side.success), badge(`score ${short(side.score)}`), ...statements(side)));
    if (episode.wrong >= 0 && episode.wrong !== null) badges.append(badge(`first wrong turn: ${episode.wrong + 1}`, "lost"));
    if (episode.failure) badges.append(badge(episode.failure, "lost"));
    // Arms that share a start play the same before training, so of then the arm's own episode is enough.
    const siblings = data.episodes.filter((other) =>
      other.task === episode.task && other.phase === episode.phase && other.member === episode.member
      && (other.iteration > 0 || other.phase === "train" || other.arm === episode.arm));
    const line = make("p", { class: "siblings" });
    if (siblings.length > 1) {
      line.append("the same task: ", ...siblings.map((other) => make("button", {
        type: "button", current: other === episode, click: () => { visit(other); },
      }, `${data.arms.length > 1 ? `${data.arms[other.arm].label}, ` : ""}${other.iteration ? `after ${other.iteration}` : "before"} ${other.success ? "✓" : "✕"}`)));
    }
    parts.head.replaceChildren(
      make("h3", {}, make("span", { class: `swatch c${arm.colour}` }),
        (episode.sides ? "" : episode.goal) || `${episode.type}, ${episode.task}`),
      badges, ...sides, line);
  };

  // Another arm's or moment's episode: filters that would hide it are let go.
  const visit = (episode) => {
    filters.arm.value = String(episode.arm);
    setUpArm();
    for (const name of ["when", "outcome", "type", "claims"]) filters[name].value = "";
    choose(episode);
    visitNumber(state.episode);
  };

  const showLegend = (arm) => {
    const signal = filters.signal.value;
    const scale = arm.scales[signal];
    if (!scale) {
      parts.legend.replaceChildren("No token of this arm was logged with numbers.");
      return;
    }
    const kind = scale[1] === null ? (signal === "student" ? "down" : "one") : "two";
    const [low, high] = ABOUT[signal];
    const middle = scale[1] === null ? "" : `, neutral at ${short(scale[1])}`;
    parts.legend.replaceChildren(
      make("span", { class: "ramp" }, `${short(scale[0])} ${low}`, make("i", { class: kind }), `${high} ${short(scale[2])}`),
      make("span", {}, `${middle.slice(2)}${arm.note ? `${middle ? " · " : ""}${arm.note}` : ""}`));
  };

  const shade = (node, value, scale) => {
    if (value === null || value === undefined || !scale) return;
    const [low, middle, high] = scale;
    let strength;
    if (middle === null) {
      strength = low < 0 ? value / low : value / high;
      node.classList.add("one");
      strength *= 0.6;
    } else {
      strength = value >= middle ? (value - middle) / (high - middle) : (middle - value) / (middle - low);
      node.classList.add(value >= middle ? "high" : "low");
      strength *= 0.72;
    }
    node.style.setProperty("--a", String(Math.min(Math.max(strength, 0), 0.72).toFixed(3)));
  };

  const tokens = (turn, arm, explain) => {
    if (!turn.t) return [explain ? text(turn.c) : callOf(text(turn.c))];
    const values = valuesOf(turn, filters.signal.value) ?? [];
    const shown = turn.t.map((number, index) => {
      const said = text(number);
      const node = make("span", { class: "token" }, said === "" ? "∅" : said.replaceAll("\n", "⏎\n"));
      if (/^<[|/]?[\w|]{1,30}[|]?>$/.test(said)) node.classList.add("end");
      shade(node, values[index], arm.scales[filters.signal.value]);
      if (explain) {
        node.addEventListener("pointerenter", (event) => showTip(event, turn, index));
        node.addEventListener("pointermove", placeTip);
        node.addEventListener("pointerleave", () => { parts.tip.hidden = true; });
      }
      return node;
    });
    return shown;
  };

  // --- one turn ---

  const showTurn = () => {
    const episode = state.shown[state.episode];
    const turn = episode.turns[state.turn];
    parts.tip.hidden = true;
    mark(parts.turns, state.turn);
    if (!turn) {
      parts.turn.replaceChildren(make("p", { class: "tone-note" }, "This episode has no turn."));
      return;
    }
    const arm = data.arms[episode.arm];
    const side = sideOf(episode, turn);
    const who = side ? `the ${roleName(side.role)}` : "the student";
    const blocks = [make("h4", {}, promptTitle(turn, who)), prompt(turn)];
    if (turn.k) {
      const known = make("div", { class: "known" });
      for (const [name, said] of turn.k) known.append(make("b", {}, name), `${text(said)}\n`);
      blocks.push(make("h4", {}, side
        ? `Privileged, for the teacher of ${who} alone: what neither side reads`
        : "Privileged: what the student never reads"), known);
    }
    blocks.push(
      make("h4", {}, `Completion${side ? ` of ${who}` : ""}, turn ${state.turn + 1} of ${episode.turns.length}`),
      make("div", { class: "tokens" }, ...tokens(turn, arm, true)),
      make("p", { class: "outcome" },
        `${turn.v ? "understood" : "not understood"} as “${callOf(text(turn.a))}”${turn.p === "ok" ? "" : ` (${turn.p})`}, reward ${short(turn.r)}`));
    if (turn.t) blocks.push(table(turn));
    parts.turn.replaceChildren(...blocks);
  };

  const promptTitle = (turn, who) => {
    if (!turn.m) return `What ${who} observed (its prompt was not logged)`;
    return turn.m.length > 1 || state.turn === 0 ? `The prompt of ${who}` : `New in the prompt of ${who}`;
  };

  const prompt = (turn) => {
    const box = make("div", { class: "prompt" });
    if (turn.m) {
      for (const [role, said] of turn.m) {
        const value = text(said);
        const read = readJson(value);
        const kind = isCall(read) ? "call" : isBranch(read) ? "result" : "";
        const name = kind ? `${role} · ${kind}` : role;
        box.append(make("div", { class: kind }, make("b", {}, name), kind === "call" ? callOf(value) : readable(value), "\n"));
      }
    } else {
      box.append(readable(text(turn.o)));
    }
    return box;
  };

  const columnsOf = (turn) =>
    ["weight", "signal", "gap", "student", "teacher", "behaviour", "entropy"]
      .map((name) => [name, valuesOf(turn, name)]).filter(([, values]) => values);

  const table = (turn) => {
    const columns = columnsOf(turn);
    const heads = ["token", ...columns.map(([name]) => NAMES[name])]
      .map((name, index) => make("th", { scope: "col", class: index ? "number" : "" }, name));
    const rows = turn.t.map((number, index) => make("tr", {},
      make("th", { scope: "row" }, text(number)),
      ...columns.map(([, values]) => make("td", { class: "number" }, figure(values[index])))));
    return make("details", {}, make("summary", {}, "Token by token"),
      make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))));
  };

  const showTip = (event, turn, index) => {
    const list = make("dl");
    for (const [name, values] of columnsOf(turn)) {
      list.append(make("dt", {}, NAMES[name]), make("dd", {}, figure(values[index])));
    }
    parts.tip.replaceChildren(make("b", {}, text(turn.t[index]) || "∅"), list);
    parts.tip.hidden = false;
    placeTip(event);
  };

  const placeTip = (event) => {
    const { offsetWidth: width, offsetHeight: height } = parts.tip;
    const left = Math.min(event.clientX + 14, window.innerWidth - width - 8);
    const below = event.clientY + 18;
    parts.tip.style.left = `${Math.max(8, left)}px`;
    parts.tip.style.top = `${below + height > window.innerHeight ? event.clientY - height - 12 : below}px`;
  };

  // --- keys: turns with left and right wherever the viewer is in view, episodes with up and down inside it ---

  const inView = () => {
    const box = byId("episode").getBoundingClientRect();
    return box.top < window.innerHeight * 0.8 && box.bottom > window.innerHeight * 0.2;
  };

  const step = (by) => {
    const turns = state.shown[state.episode]?.turns.length ?? 0;
    if (turns) goTo(state.episode, Math.min(Math.max(state.turn + by, 0), turns - 1));
  };

  byId("back").addEventListener("click", () => step(-1));
  byId("on").addEventListener("click", () => step(1));

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("select, input, textarea, .scroll") || !state.shown.length) return;
    const inside = byId("filters").parentElement.contains(event.target);
    if (event.key === "ArrowRight" && inView()) step(1);
    else if (event.key === "ArrowLeft" && inView()) step(-1);
    else if (event.key === "ArrowDown" && inside) visitNumber(Math.min(state.episode + 1, state.shown.length - 1));
    else if (event.key === "ArrowUp" && inside) visitNumber(Math.max(state.episode - 1, 0));
    else return;
    event.preventDefault();
  });

  setUp();
  document.getElementById("viewer").hidden = false;
  choose();
})();
