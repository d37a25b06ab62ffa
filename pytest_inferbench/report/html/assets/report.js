// What the report gains with a script: themes, filters, sorting, and sections that are unfolded
// when they are asked for. Without it everything up to the first hundreds of cells is readable.
(() => {
  "use strict";
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const PAGE = 200; // rows that are in the table at once

  function make(name, properties, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }

  // Only what this page was written with is ever parsed as markup.
  function parsed(markup) {
    const template = document.createElement("template");
    template.innerHTML = markup;
    return template.content.firstElementChild;
  }

  async function unpacked(id) {
    const source = find(id);
    if (!source) return [];
    const bytes = Uint8Array.from(atob(source.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  function themes() {
    const button = find("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      show();
    });
    system.addEventListener("change", show);
    show();
  }

  function plots(models) {
    const drawn = [...document.querySelectorAll(".pareto")];
    if (models.length < 2) return;
    const still = drawn.length;
    const select = make("select", { id: "model-shown" });
    for (const model of models) select.append(make("option", {}, model));
    let packed = null;
    async function show() {
      const chosen = select.selectedIndex;
      if (!drawn[chosen]) {
        packed ??= unpacked("plots");
        drawn[chosen] = parsed((await packed)[chosen - still]);
        drawn[0].parentElement.append(drawn[chosen]);
      }
      drawn.forEach((each, i) => (each.hidden = i !== select.selectedIndex));
    }
    select.addEventListener("change", show);
    drawn[0].before(make("div", { className: "controls" }, make("label", {}, "model", select)));
    show();
  }

  function printing() {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")];
      for (const each of opened) each.open = true;
    });
    addEventListener("afterprint", () => {
      for (const each of opened) each.open = false;
    });
  }

  function sections(facts) {
    const chunks = new Map();
    async function unfold(index) {
      const start = facts.still + Math.floor((index - facts.still) / facts.chunk) * facts.chunk;
      const name = `sections-${Math.floor((index - facts.still) / facts.chunk)}`;
      if (!chunks.has(name)) chunks.set(name, unpacked(name));
      const markup = (await chunks.get(name))[index - start];
      if (markup && !find(`c${index}`)) find("unfolded").append(parsed(markup));
    }
    async function go() {
      const id = location.hash.slice(1);
      const named = /^c(\d+)$/.exec(id);
      if (!named) return;
      const index = Number(named[1]);
      if (!find(id) && index >= facts.still) {
        if (index >= facts.sections) {
          find("shown").textContent =
            `The sections of cells are kept for the first ${facts.sections}, worst first; this one` +
            " has its row alone. Make a report of fewer cells to see it.";
          return;
        }
        await unfold(index);
      }
      const section = find(id);
      if (!section) return;
      section.open = true;
      section.scrollIntoView();
      section.querySelector("summary").focus({ preventScroll: true });
    }
    addEventListener("hashchange", go);
    document.addEventListener("click", (event) => {
      const link = event.target.closest('a[href^="#c"]');
      if (link && link.getAttribute("href") === location.hash) go();
    });
    go();
  }

  function table(facts) {
    const body = find("cells-table").tBodies[0];
    const still = [...body.rows];
    let packed = [];
    const place = Object.fromEntries(facts.columns.map((column, i) => [column.key, i]));
    const named = (key, i) => {
      const value = facts.keys[i][place[key]];
      if (key === "verdict") return facts.verdicts[value] ?? "";
      return key === "session" ? facts.sessions[value] : value;
    };
    const words = ["verdict", "model", "backend", "precision", "hardware", "session"].filter(
      (key) => key in place,
    );
    const texts = facts.keys.map((_, i) =>
      [...words.map((key) => named(key, i)), facts.codes[i]].join(" ").toLowerCase(),
    );
    const state = { text: "", chosen: {}, by: null, down: false, most: PAGE };

    function chosen() {
      const parts = state.text.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = Object.entries(state.chosen).filter(([, value]) => value);
      const found = [];
      for (let i = 0; i < facts.keys.length; i++) {
        if (!parts.every((part) => texts[i].includes(part))) continue;
        if (!wanted.every(([key, value]) => named(key, i) === value)) continue;
        found.push(i);
      }
      if (state.by === null) return found;
      const column = place[state.by];
      const sign = state.down ? -1 : 1;
      return found.sort((a, b) => {
        const [one, other] = [facts.keys[a][column], facts.keys[b][column]];
        if (one === null || other === null) return (one === null) - (other === null) || a - b;
        return sign * (one < other ? -1 : one > other ? 1 : 0) || a - b;
      });
    }

    function rowOf(i) {
      if (!still[i]) still[i] = parsed(packed[i - facts.rows] ?? "<tr></tr>");
      return still[i];
    }

    function show() {
      const found = chosen();
      body.replaceChildren(...found.slice(0, state.most).map(rowOf));
      const total = facts.keys.length;
      const all = total === 1 ? "1 cell" : `${total} cells`;
      const shown = Math.min(found.length, state.most);
      find("shown").textContent =
        (found.length === total ? all : `${found.length} of ${all}`) +
        (shown < found.length ? `, the first ${shown} shown` : "");
      find("more").hidden = shown === found.length;
    }

    function sortBy(key, down) {
      state.by = key;
      state.down = down;
      state.most = PAGE;
      for (const [i, head] of heads.entries()) {
        if (facts.columns[i].key === key) {
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
        } else head.removeAttribute("aria-sort");
      }
      show();
    }

    const heads = [...find("cells-table").tHead.rows[0].cells];
    for (const [i, head] of heads.entries()) {
      const { key, down } = facts.columns[i];
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () =>
        sortBy(key, state.by === key ? !state.down : down),
      );
      head.replaceChildren(button);
    }

    function control(text, element) {
      find("controls").append(make("label", {}, text, element));
    }
    const input = make("input", { type: "search", id: "filter-text", autocomplete: "off" });
    input.addEventListener("input", () => {
      state.text = input.value;
      state.most = PAGE;
      show();
    });
    control("contains", input);
    for (const key of words) {
      const values = [...new Set(facts.keys.map((_, i) => named(key, i)))];
      if (values.length < 2) continue;
      values.sort((a, b) =>
        key === "verdict" ? facts.verdicts.indexOf(a) - facts.verdicts.indexOf(b) : a < b ? -1 : 1,
      );
      const select = make("select", { id: `filter-${key}` }, make("option", { value: "" }, "all"));
      for (const value of values) select.append(make("option", { value }, value));
      select.addEventListener("change", () => {
        state.chosen[key] = select.value;
        state.most = PAGE;
        show();
      });
      control(key, select);
    }
    const sorter = make("select", {}, make("option", { value: "" }, "worst first"));
    for (const { key, title } of facts.columns) sorter.append(make("option", { value: key }, title));
    sorter.addEventListener("change", () => {
      const column = facts.columns.find(({ key }) => key === sorter.value);
      sortBy(column ? column.key : null, column ? column.down : false);
    });
    find("controls").append(make("label", { className: "sort-by" }, "sorted by", sorter));
    find("more").addEventListener("click", () => {
      state.most += PAGE;
      show();
    });

    if (facts.keys.length > facts.rows) {
      unpacked("rows").then((rows) => {
        packed = rows;
        show();
      });
    } else show();
  }

  themes();
  printing();
  const facts = find("facts") && JSON.parse(find("facts").textContent);
  if (facts && facts.plots) plots(facts.plots);
  if (facts && find("cells-table")) {
    table(facts);
    sections(facts);
  }
})();
