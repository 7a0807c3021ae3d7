"use strict";
// The page of `yt8m explore`. It makes every page from chunks of data, which are scripts that call yt8m(name, value):
// a page opened from file:// may load scripts, and nothing else. Texts of strangers become text nodes, and never markup.
(() => {
  // Data ---------------------------------------------------------------------------------------------------------
  const KEPT = 400; // chunks in memory; the oldest is dropped first
  const chunks = new Map();
  const arrivals = new Map();

  window.yt8m = (name, value) => arrivals.get(name)?.(value);

  function load(name) {
    if (!chunks.has(name)) {
      chunks.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const end = (finish, value) => { arrivals.delete(name); script.remove(); finish(value); };
        arrivals.set(name, (value) => end(resolve, value));
        script.addEventListener("error", () => {
          chunks.delete(name);
          end(reject, new Error(`data/${name}.js cannot be loaded`));
        });
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
      if (chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
    }
    return chunks.get(name);
  }

  const numbered = (name, count) => Array.from({ length: count }, (_, number) => load(`${name}/${number}`));

  function crc32(text) {
    let crc = -1;
    for (const byte of new TextEncoder().encode(text)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return (crc ^ -1) >>> 0;
  }

  const inBucket = (name, id) => load(`${name}/${crc32(id) % site.buckets[name]}`);

  let site;
  let entities = []; // by label index, those that are loaded
  let ordered = []; // as they stand in their chunks: those with most videos first

  function entity(row) {
    const [index, id, name, kinds, counts, score, specificity] = row;
    return { index, id, name, kinds, counts, score, specificity, videos: counts.reduce((sum, count) => sum + count, 0) };
  }

  async function someEntities(chunksNeeded) {
    const rows = (await Promise.all(numbered("entities", chunksNeeded))).flat();
    if (rows.length > ordered.length) {
      ordered = rows.map(entity);
      for (const item of ordered) entities[item.index] = item;
    }
    return ordered;
  }

  const allEntities = () => someEntities(site.buckets.entities);

  async function descriptions() {
    return new Map((await Promise.all(numbered("texts", site.buckets.texts))).flat());
  }

  // Elements -----------------------------------------------------------------------------------------------------
  const ATTRIBUTES = new Set(["alt", "autocomplete", "class", "controls", "for", "height", "hidden", "href", "id", "loading",
    "preload", "rel", "role", "scope", "src", "tabindex", "target", "title", "type", "value", "width", "autoplay", "playsinline"]);
  const LINK = /^(#\/|\.\.?\/|https?:\/\/)/i; // a place in this site, beside it, or in the web; no other scheme

  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (typeof value === "function") element.addEventListener(name, value);
      else if (!ATTRIBUTES.has(name) && !name.startsWith("aria-")) throw new Error(`no attribute: ${name}`);
      else if (name === "href" && !LINK.test(value)) continue;
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  const number = (value) => value.toLocaleString("en");
  const plural = (count, word, more = `${word}s`) => `${number(count)} ${count === 1 ? word : more}`;
  const words = (name) => name.replaceAll("_", " ");
  const within = (value, otherwise, least, most) => Math.min(Math.max(Number(value) || otherwise, least), most);
  const $ = (id) => document.getElementById(id);
  const say = (text) => { $("said").textContent = text; };

  function clock(seconds) {
    if (seconds === null) return null;
    const whole = Math.round(seconds);
    const parts = [Math.floor(whole / 60) % 60, whole % 60];
    if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
    return parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
  }

  function address(path, parameters = {}) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== null));
    const text = query.toString();
    return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
  }

  const away = (href, text) => LINK.test(href) ? h("a", { href, rel: "noopener noreferrer", target: "_blank" }, text) : text;
  const entityLink = (item) => h("a", { href: address(["entity", item.id || String(item.index)]) }, item.name);
  const labelNames = (labels) => labels.map((index) => entities[index]?.name ?? `entity ${index}`);

  function facts(pairs) {
    return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  function table(caption, heads, rows, className = "") {
    const head = heads.map(([text, kind]) => h("th", { scope: "col", class: kind }, text));
    return h("div", { class: `scroll ${className}` }, h("table", {}, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)));
  }

  function colour(kind, of) {
    const turn = Math.round((360 * kind) / Math.max(of, 1));
    return `hsl(${turn} ${kind % 2 ? 55 : 80}% ${isDark.matches ? 62 + 10 * (kind % 3 - 1) : 42 + 8 * (kind % 3 - 1)}%)`;
  }

  function swatch(paint) {
    const dot = h("span", { class: "swatch", "aria-hidden": "true" });
    dot.style.background = paint;
    return dot;
  }

  const isDark = window.matchMedia("(prefers-color-scheme: dark)");

  // Videos -------------------------------------------------------------------------------------------------------
  function video(card) {
    const [id, row, pictures, partition, seconds, sound, cosine] = card;
    return { id, row, pictures, partition: site.partitions[partition].name, seconds, sound, cosine };
  }

  const thumbnails = (item) => `thumbnails/${item.row % 256}/${item.row}.jpg`;

  function picture(item) {
    if (!item.pictures) return h("span", { class: "picture" }, "no picture");
    const image = h("img", { src: thumbnails(item), alt: "", loading: "lazy" });
    const pane = h("span", { class: "window" }, image);
    const box = h("span", { class: "picture" }, pane);
    const turnTo = (place) => {
      const width = image.getBoundingClientRect().width / item.pictures;
      pane.style.width = `${width}px`;
      image.style.transform = `translateX(${-width * Math.min(Math.floor(place * item.pictures), item.pictures - 1)}px)`;
    };
    image.addEventListener("load", () => turnTo(0.5));
    image.addEventListener("error", () => box.replaceChildren("the picture is gone"));
    box.addEventListener("pointermove", (event) => {
      const frame = box.getBoundingClientRect();
      turnTo((event.clientX - frame.left) / frame.width);
    });
    box.addEventListener("pointerleave", () => turnTo(0.5));
    return box;
  }

  function cardOf(item) {
    const told = [item.partition, clock(item.seconds), item.sound < 1 && item.sound !== null ? "damaged" : null];
    const near = item.cosine >= site.near_duplicate;
    return h("a", { class: "card", href: address(["video", item.id]), title: item.id }, picture(item), h("b", {}, item.id),
      h("small", {}, told.filter(Boolean).join(" · ")),
      item.cosine === undefined ? null
        : h("small", { class: near ? "near" : "" }, near ? `near-duplicate · ${item.cosine}` : `similarity ${item.cosine}`));
  }

  const grid = (cards) => h("ul", { class: "cards" }, cards.map((card) => h("li", {}, cardOf(video(card)))));

  // Pages: each returns its title and its content ----------------------------------------------------------------
  const SORTS = {
    videos: ["most videos", null],
    name: ["name", (a, b) => a.name.localeCompare(b.name) || a.index - b.index],
    score: ["rater score, most visual first", (a, b) => (a.score ?? 99) - (b.score ?? 99) || a.index - b.index],
    specificity: ["specificity, finest first", (a, b) => rank(a) - rank(b) || a.index - b.index],
  };
  const RATED = ["score", "specificity"];
  const SPECIFICITY = ["fine", "medium", "coarse"];
  const rank = (item) => (SPECIFICITY.includes(item.specificity) ? SPECIFICITY.indexOf(item.specificity) : 9);
  const ROWS = 100;

  async function entitiesPage(_, parameters) {
    const state = {
      q: parameters.get("q") ?? "", vertical: parameters.get("vertical") ?? "", rows: within(parameters.get("rows"), ROWS, ROWS, Infinity),
      sort: Object.hasOwn(SORTS, parameters.get("sort") ?? "") ? parameters.get("sort") : "videos",
    };
    const found = h("div", {});
    const search = h("input", { type: "search", value: state.q, id: "search", autocomplete: "off",
      input: () => change({ q: search.value }) });
    const sort = h("select", { change: () => change({ sort: sort.value }) },
      Object.entries(SORTS).filter(([name]) => site.is_rated || !RATED.includes(name)).map(([name, [text]]) => h("option", { value: name }, text)));
    sort.value = state.sort;
    const verticals = h("ul", { class: "chips sliding", "aria-label": "Verticals" });
    let turn = 0;

    function change(to) {
      Object.assign(state, { rows: ROWS }, to);
      history.replaceState(null, "", address([], {
        q: state.q, vertical: state.vertical, sort: state.sort === "videos" ? "" : state.sort,
        rows: state.rows === ROWS ? "" : state.rows,
      }));
      return show();
    }

    function showVerticals() {
      verticals.replaceChildren(...site.verticals.map(([name, count, videos]) => h("li", {}, h("button", {
        type: "button", "aria-pressed": String(name === state.vertical), title: `${plural(count, "entity", "entities")}, ${plural(videos, "video")}`,
        click: () => change({ vertical: name === state.vertical ? "" : name }).then(() =>
          [...verticals.querySelectorAll("button")].find((button) => button.dataset.name === name)?.focus()),
      }, name, h("small", {}, number(count))))));
      [...verticals.querySelectorAll("button")].forEach((button, at) => { button.dataset.name = site.verticals[at][0]; });
    }

    async function show() {
      const now = ++turn;
      showVerticals();
      const isPlain = !state.q && !state.vertical && state.sort === "videos";
      const items = isPlain ? await someEntities(Math.min(Math.ceil(state.rows / 500), site.buckets.entities))
        : await allEntities();
      if (now === turn) list(items, new Map());
      if (state.q) {
        const texts = await descriptions();
        if (now === turn) list(items, texts);
      }
    }

    function list(items, texts) {
      const wanted = state.q.trim().toLowerCase();
      const kind = site.verticals.findIndex(([name]) => name === state.vertical);
      const names = (item) => [item.name, item.id].some((text) => text.toLowerCase().includes(wanted));
      const describes = (item) => (texts.get(item.index) ?? "").toLowerCase().includes(wanted);
      const matches = items.filter((item) => (!state.vertical || item.kinds.includes(kind))
        && (!wanted || names(item) || describes(item)));
      const order = SORTS[state.sort][1];
      if (order) matches.sort(order);
      const isAll = !wanted && !state.vertical;
      const count = isAll ? site.entities : matches.length;
      const among = site.verticals.length ? ` in ${plural(site.verticals.length, "vertical")}` : "";
      const told = isAll ? `${plural(count, "entity", "entities")}${among}`
        : `${plural(count, "entity", "entities")} of ${number(site.entities)}`;
      const rows = matches.slice(0, state.rows).map((item) => entityRow(item, wanted && !names(item) ? snippet(texts.get(item.index), wanted) : null));
      found.replaceChildren(
        rows.length ? table(told, [["Entity"], ["Videos", "number"], ...(site.is_rated
          ? [["Rater score", "number wide-only"], ["Specificity", "wide-only"]] : [])], rows) : h("p", {}, isAll ? "The vocabulary has no entity." : "No entity fits."),
        count > rows.length && rows.length
          ? h("p", {}, h("button", { type: "button", click: () => change({ rows: state.rows + ROWS }) }, `Show ${ROWS} more`)) : "",
        wanted ? h("p", {}, h("a", { href: address(["rejected"], { id: state.q.trim() }) },
          `Look for a video or an entity with the id “${state.q.trim()}”`)) : "",
      );
      say(told);
    }

    await show();
    return ["Entities", h("h1", { tabindex: "-1" }, "Entities"), overview(),
      h("div", { class: "controls", role: "search" },
        h("label", { class: "wide" }, "Search names, descriptions and ids ( / )", search), h("label", {}, "Sort by", sort)),
      verticals, found];
  }

  function overview() {
    const parts = site.partitions.map((part) => `${number(part.videos)} ${part.name}`);
    const total = site.partitions.reduce((sum, part) => sum + part.videos, 0);
    return h("p", { class: "faint" }, `${plural(total, "video")}: ${parts.join(", ")}.`);
  }

  function snippet(text = "", wanted) {
    const at = text.toLowerCase().indexOf(wanted);
    if (at < 0) return null;
    const from = at > 60 ? text.indexOf(" ", at - 60) + 1 : 0; // at a word
    return `${from ? "…" : ""}${text.slice(from <= at ? from : at, at + 100)}${text.length > at + 100 ? "…" : ""}`;
  }

  function entityRow(item, found) {
    const kinds = item.kinds.map((kind) => site.verticals[kind][0]).join(", ");
    return h("tr", {},
      h("th", { scope: "row", class: "text" }, entityLink(item), h("p", { class: "faint" }, [kinds, item.id === item.name ? "" : item.id].filter(Boolean).join(" · ")),
        found ? h("p", {}, found) : null),
      h("td", { class: "number" }, number(item.videos)),
      site.is_rated ? [h("td", { class: "number wide-only" }, item.score ?? "–"), h("td", { class: "wide-only" }, item.specificity || "–")] : null);
  }

  async function entityPage([id = ""], parameters) {
    await allEntities();
    const item = ordered.find((one) => one.id === id) ?? entities[/^\d+$/.test(id) ? Number(id) : -1];
    if (!item) return missing(`There is no entity ${id}`, id);
    const page = await load(`entity/${item.index}`);
    const part = parameters.get("partition") ?? "";
    const kinds = item.kinds.map((kind) => site.verticals[kind][0]);
    const counts = site.partitions.map((one, at) => h("tr", {}, h("th", { scope: "row" }, one.name),
      h("td", { class: "number" }, isHidden(one) ? "withheld" : number(item.counts[at]))));
    const cards = page.videos.filter((card) => !part || site.partitions[card[3]].name === part);
    const all = page.videos.length === item.videos ? `All ${plural(item.videos, "video")}`
      : `${number(page.videos.length)} of ${plural(item.videos, "video")}, drawn by a hash of their ids`;
    return [item.name, h("h1", { tabindex: "-1" }, item.name), h("p", {}, page.description || "No description."),
      facts([["Id", item.id], ["About", page.url ? away(page.url, page.url) : null], ["Verticals", kinds.length ? chips(kinds.map((name) =>
        h("a", { href: address([], { vertical: name }) }, name))) : null],
        ["Rater score", item.score === null ? null : `${item.score} (1 is the most visual)`], ["Specificity", item.specificity]]),
      table("Videos by partition", [["Partition"], ["Videos", "number"]], counts, "narrow"),
      h("h2", {}, "Occurs together with"),
      page.together.length ? chips(page.together.map(([index, count]) =>
        h("a", { href: address(["entity", entities[index].id || String(index)]) }, entities[index].name, h("small", {}, number(count)))))
        : h("p", { class: "faint" }, "It occurs alone."),
      h("h2", {}, "Videos"), h("p", { class: "faint" }, `${all}.`),
      partitionChips(part, (name) => address(["entity", id], { partition: name }), page.videos),
      cards.length ? grid(cards) : h("p", {}, "No video.")];
  }

  const isHidden = (part) => part.labelled < part.videos;
  const chips = (links) => h("ul", { class: "chips" }, links.map((link) => h("li", {}, link)));

  function partitionChips(chosen, to, cards) {
    const names = site.partitions.map((part) => part.name).filter((_, at) => cards.some((card) => card[3] === at));
    if (names.length < 2) return "";
    return h("nav", { "aria-label": "Partitions" }, chips(["", ...names].map((name) =>
      h("a", { href: to(name), "aria-current": name === chosen ? "true" : false }, name || "all",
        h("small", {}, number(cards.filter((card) => !name || site.partitions[card[3]].name === name).length))))));
  }

  async function videosPage([name = site.partitions[0].name]) {
    const part = site.partitions.find((one) => one.name === name);
    if (!part) return missing(`There is no partition ${name}`, name);
    const cards = await load(`partition/${name}`);
    const all = cards.length === part.videos ? `All ${plural(part.videos, "video")} of ${name}`
      : `${number(cards.length)} of the ${plural(part.videos, "video")} of ${name}, drawn by a hash of their ids`;
    return [`Videos of ${name}`, h("h1", { tabindex: "-1" }, "Videos"),
      h("nav", { "aria-label": "Partitions" }, chips(site.partitions.map((one) =>
        h("a", { href: address(["videos", one.name]), "aria-current": one === part ? "true" : false }, one.name,
          h("small", {}, number(one.videos)))))),
      finder(""), h("p", { class: "faint" }, `${all}.${isHidden(part) ? " Their labels are withheld." : ""}`), grid(cards)];
  }

  function finder(id) {
    const box = h("input", { type: "search", value: id, id: "search", autocomplete: "off",
      keydown: (event) => { if (event.key === "Enter") go(); } });
    const go = () => { location.hash = address(["rejected"], { id: box.value.trim() }); };
    return h("div", { class: "controls", role: "search" }, h("label", { class: "wide" }, "Id of a video or an entity", box),
      h("button", { type: "button", click: go }, "Look up"));
  }

  async function findVideo(id) {
    return (await inBucket("videos", id)).find((one) => one.card[0] === id);
  }

  async function videoPage([id]) {
    const [page] = await Promise.all([findVideo(id), allEntities()]);
    if (!page) return rejectedPage([], new URLSearchParams({ id }));
    const item = video(page.card);
    const strip = item.pictures ? h("img", { src: thumbnails(item), alt: `${plural(item.pictures, "frame")} of the video, evenly apart` })
      : h("p", {}, "There are no pictures of this video.");
    if (item.pictures) strip.addEventListener("error", () => strip.replaceWith(h("p", {}, "The pictures are gone.")));
    const labels = page.labels === null ? "withheld"
      : page.labels.length ? chips(page.labels.map((index) => entityLink(entities[index]))) : "none";
    const damage = item.sound === null ? null : item.sound < 1 ? `${(100 * item.sound).toFixed(1)} % of its frames are sound` : "none";
    return [item.id, h("h1", { tabindex: "-1" }, item.id), h("div", { class: "strip", tabindex: "0", role: "group", "aria-label": "Frames" }, strip),
      player(page.source),
      facts([["Labels", labels], ["Partition", h("a", { href: address(["videos", item.partition]) }, item.partition)],
        ["Duration", item.seconds === null ? null : `${clock(item.seconds)} (${item.seconds} s)`], ["Frames", page.frames === null ? null : number(page.frames)],
        ["File", file(page.file)], ["Views", page.views === null ? null : number(page.views)],
        ["Damage", damage], ["Frames off their times", page.deviation === null ? null : `at most ${page.deviation} s`],
        ["Source", page.source ? (page.source.href ? away(page.source.href, page.source.text) : page.source.text) : null]]),
      h("h2", {}, "Similar videos"), similar(page.similar)];
  }

  function file({ codec, width, height, rate, bytes }) {
    const size = width === null || height === null ? null : `${width} × ${height}`;
    return [codec, size, rate === null ? null : `${rate} frames per second`, bytes === null ? null : `${(bytes / 1e6).toFixed(2)} MB`]
      .filter(Boolean).join(", ");
  }

  function similar(cards) {
    if (cards === null) return h("p", {}, `This video is not among the ${number(site.compared)} that were compared.`);
    if (!cards.length) return h("p", {}, "There is no other video.");
    const near = cards.filter((card) => card[6] >= site.near_duplicate).length;
    return [h("p", { class: "faint" }, `By the cosine of the means of their features, among ${plural(site.compared, "video")}. `
      + (near ? `${plural(near, "near-duplicate")}: ${site.near_duplicate} or more.` : `No near-duplicate: none has ${site.near_duplicate}.`)), grid(cards)];
  }

  function player(source) {
    if (!source?.href) return "";
    const place = h("div", {});
    const failed = () => place.replaceChildren(h("p", { class: "problem" },
      "The browser cannot reach or play the video: it is gone, elsewhere, or of a kind that browsers do not play."));
    const play = () => {
      const film = h("video", { controls: true, playsinline: true, "aria-label": "The video", error: failed });
      film.src = source.href;
      place.replaceChildren(film);
      film.play().catch(() => {}); // `error` tells of what cannot be played
      film.focus();
    };
    place.append(h("button", { type: "button", click: play }, "▶ Play the video here"));
    return place;
  }

  async function rejectedPage(_, parameters) {
    const id = parameters.get("id") ?? "";
    const answer = id ? await whereIs(id) : "";
    const tables = [...new Set(site.funnel.map((row) => row.table))].sort((a, b) => order(a) - order(b));
    return ["Rejected", h("h1", { tabindex: "-1" }, "Rejected"),
      h("p", { class: "faint" }, "What each stage kept of each table, and why it rejected the rest."), finder(id), answer,
      tables.map((name) => funnel(name, site.funnel.filter((row) => row.table === name))),
      tables.some((name) => site.unasked.includes(name)) ? h("p", { class: "faint" },
        `Rows of ${site.unasked.join(" and ")} are counted here and not listed: yt8m inspect DATASET --rejects --id ID lists them.`) : ""];
  }

  const TABLES = ["videos", "entities", "annotations", "ratings"];
  const order = (name) => (TABLES.includes(name) ? TABLES.indexOf(name) : 9);

  function funnel(name, rows) {
    const most = Math.max(...rows.map((row) => row.rows_in), 1);
    return [h("h2", {}, `${name[0]?.toUpperCase() ?? ""}${name.slice(1)}`), table(`Rows of ${name}, stage by stage`,
      [["Stage"], ["In", "number"], ["Kept", "number"], ["", "wide-only"], ["Rejected"]], rows.map((row) => {
        const bar = h("span", {});
        bar.style.width = `${(100 * row.kept) / most}%`;
        return h("tr", {}, h("th", { scope: "row" }, words(row.stage)), h("td", { class: "number" }, number(row.rows_in)),
          h("td", { class: "number" }, number(row.kept)), h("td", { class: "wide-only" }, h("div", { class: "bar", "aria-hidden": "true" }, bar)),
          h("td", { class: "text" }, row.rejected.map(([reason, count]) => `${words(reason)}: ${number(count)}`).join(", ") || "–"));
      }))];
  }

  async function whereIs(id) {
    const [page, rows] = await Promise.all([findVideo(id), inBucket("rejected", id), allEntities()]);
    const found = rows.filter((row) => row[0] === id);
    const item = ordered.find((one) => one.id === id);
    const total = site.partitions.reduce((sum, part) => sum + part.videos, 0);
    const kept = [page ? h("p", {}, "The dataset has the video ", h("a", { href: address(["video", id]) }, id), ".") : null,
      item ? h("p", {}, "The dataset has the entity ", entityLink(item), ".") : null].filter(Boolean);
    const listed = found.length ? table(`Rejected rows of ${id}`, [["Stage"], ["Table"], ["Reason"], ["Detail"]], found.map((row) =>
      h("tr", {}, row.slice(1, 4).map((text) => h("td", {}, words(text))), h("td", { class: "text" }, row[4])))) : null;
    const none = kept.length || found.length ? null : h("p", {}, `Nothing with the id ${id} is in this site: no video, no entity and no rejected row.`,
      site.shown < total ? ` The dataset has ${number(total - site.shown)} videos more, which have no page here.` : "");
    say(found.length ? `${id}: rejected` : kept.length ? `${id} is in the dataset` : `${id} is not here`);
    return h("section", { "aria-label": `Answer for ${id}` }, kept, listed, none);
  }

  async function aboutPage() {
    const total = site.partitions.reduce((sum, part) => sum + part.videos, 0);
    const list = (title, texts) => texts.length ? [h("h2", {}, title), h("ul", {}, texts.map((text) => h("li", {}, text)))] : "";
    return ["About", h("h1", { tabindex: "-1" }, `About ${site.name}`),
      facts([["Videos", `${number(total)}, ${number(site.shown)} with a page`], ["Entities", number(site.entities)],
        ["Grids", `at most ${number(site.most)} videos of each entity and partition`],
        ["Similar videos", `nearest by the cosine of the means of their features, among ${number(site.compared)}; near-duplicates have ${site.near_duplicate} or more`],
        ["Map", `the first two principal components of these means, which have ${(100 * site.explained).toFixed(1)} % of their variance; a video has the colour of the first vertical of its first label`],
        ["Withheld labels", site.withheld_shown ? "shown" : "not in this site"],
        ["Sources", site.has_uris ? "linked where a browser can follow them; a video is loaded when it is played" : "left out"],
        ["Made by", `yt8m_pipeline ${site.version}, yt8m explore`]]),
      list("What is left out", site.notes), list("Warnings of the build", site.warnings)];
  }

  function missing(text, id) {
    return ["Not found", h("h1", { tabindex: "-1" }, "Not found"), h("p", {}, text), id ? finder(id) : ""];
  }

  // The map ------------------------------------------------------------------------------------------------------
  const ZOOMS = [0.5, 400];
  const FARTHEST = 9; // from the middle; the points lie within 1

  async function mapPage(_, parameters) {
    const [loaded] = await Promise.all([Promise.all(numbered("map", site.buckets.map)), allEntities()]);
    const points = loaded.flat().map(([id, row, pictures, partition, labels, x, y]) => ({ id, row, pictures, partition, labels, x, y }));
    const kinds = site.verticals.length ? ["vertical", "partition"] : ["partition"];
    const state = {
      by: kinds.includes(parameters.get("by")) ? parameters.get("by") : kinds[0], q: parameters.get("q") ?? "", only: parameters.get("only") ?? "",
      x: within(parameters.get("x"), 0, -FARTHEST, FARTHEST), y: within(parameters.get("y"), 0, -FARTHEST, FARTHEST), zoom: within(parameters.get("zoom"), 1, ...ZOOMS),
      at: parameters.get("at") ?? "",
    };
    const canvas = h("canvas", { tabindex: "0", role: "application", "aria-label": "Map of the videos. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the video nearest the middle." });
    const tip = h("div", { class: "tip", hidden: true });
    const legend = h("ul", { class: "chips", "aria-label": "Colours" });
    const chosen = h("div", { class: "chosen" });
    const count = h("p", { class: "faint" });
    const by = h("select", { change: () => change({ by: by.value, only: "" }) }, kinds.map((kind) => h("option", { value: kind }, kind)));
    by.value = state.by;
    const search = h("input", { type: "search", value: state.q, id: "search", autocomplete: "off", input: () => change({ q: search.value }) });
    const NONE = "no label shown";
    let named = [];

    function naming() {
      const names = state.by === "partition" ? site.partitions.map((part) => part.name) : site.verticals.map(([name]) => name);
      const kind = (point) => {
        if (state.by === "partition") return point.partition;
        const first = (point.labels ?? []).find((index) => entities[index]?.kinds.length);
        return first === undefined ? names.length : entities[first].kinds[0];
      };
      named = names;
      for (const point of points) point.kind = kind(point);
    }

    const paint = (kind) => (kind < named.length ? colour(kind, named.length) : getComputedStyle(document.documentElement).getPropertyValue("--point"));

    function matching() {
      const wanted = state.q.trim().toLowerCase();
      const only = named.indexOf(state.only) < 0 && state.only === NONE ? named.length : named.indexOf(state.only);
      for (const point of points) {
        point.isOn = (!state.only || point.kind === only) && (!wanted || point.id.toLowerCase().includes(wanted)
          || labelNames(point.labels ?? []).some((name) => name.toLowerCase().includes(wanted)));
      }
      const on = points.filter((point) => point.isOn).length;
      count.textContent = `${number(on)} of ${plural(points.length, "video")}${on < points.length ? " fit" : ""}.`
        + ` The two directions have ${(100 * site.explained).toFixed(1)} % of the variance.`;
      const used = new Map();
      for (const point of points) used.set(point.kind, (used.get(point.kind) ?? 0) + 1);
      legend.replaceChildren(...[...used.keys()].sort((a, b) => a - b).map((kind) => {
        const name = named[kind] ?? NONE;
        return h("li", {}, h("button", { type: "button", "aria-pressed": String(state.only === name),
          click: (event) => { const at = [...legend.children].indexOf(event.currentTarget.parentNode); change({ only: state.only === name ? "" : name }); legend.children[at]?.firstChild.focus(); } },
        swatch(paint(kind)), name, h("small", {}, number(used.get(kind)))));
      }));
    }

    const side = () => Math.min(canvas.clientWidth, canvas.clientHeight) * 0.47 * state.zoom;
    const place = (point) => [canvas.clientWidth / 2 + (point.x - state.x) * side(), canvas.clientHeight / 2 - (point.y - state.y) * side()];

    function draw() {
      const scale = window.devicePixelRatio || 1;
      canvas.width = canvas.clientWidth * scale;
      canvas.height = canvas.clientHeight * scale;
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      const size = Math.max(2, Math.min(3 + Math.log2(state.zoom), 9) + (points.length < 2000 ? 3 : 0));
      const paints = Array.from({ length: named.length + 1 }, (_, kind) => paint(kind));
      const [unit, middle] = [side(), [canvas.clientWidth / 2, canvas.clientHeight / 2]];
      for (const isOn of [false, true]) {
        pen.globalAlpha = isOn ? 0.85 : 0.12;
        for (const point of points) { // in the order of the ids, so that no colour covers the others
          if (point.isOn !== isOn) continue;
          const [x, y] = [middle[0] + (point.x - state.x) * unit, middle[1] - (point.y - state.y) * unit];
          if (x < -9 || y < -9 || x > 2 * middle[0] + 9 || y > 2 * middle[1] + 9) continue;
          pen.fillStyle = paints[point.kind];
          pen.fillRect(x - size / 2, y - size / 2, size, size);
        }
      }
      pen.globalAlpha = 1;
      pen.strokeStyle = getComputedStyle(canvas).color;
      pen.lineWidth = 2;
      const at = points.find((point) => point.id === state.at);
      if (at) { const [x, y] = place(at); pen.beginPath(); pen.arc(x, y, 9, 0, 7); pen.stroke(); }
      if (document.activeElement === canvas) {
        const [x, y] = [canvas.clientWidth / 2, canvas.clientHeight / 2];
        pen.beginPath(); pen.moveTo(x - 8, y); pen.lineTo(x + 8, y); pen.moveTo(x, y - 8); pen.lineTo(x, y + 8); pen.stroke();
      }
    }

    let waiting = 0;
    function redraw() { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); }

    function change(to) {
      Object.assign(state, to);
      const digits = (value) => Number(value.toFixed(4));
      history.replaceState(null, "", address(["map"], { by: state.by === kinds[0] ? "" : state.by, q: state.q, only: state.only, at: state.at,
        x: digits(state.x) || "", y: digits(state.y) || "", zoom: state.zoom === 1 ? "" : digits(state.zoom) }));
      if ("by" in to) naming();
      if ("by" in to || "q" in to || "only" in to) { matching(); say(count.textContent); }
      if ("at" in to) choose();
      redraw();
    }

    function choose() {
      const point = points.find((one) => one.id === state.at);
      chosen.replaceChildren(point ? h("div", {}, cardOf({ ...point, partition: site.partitions[point.partition].name, seconds: null, sound: null }),
        h("p", { class: "faint" }, told(point))) : "");
      if (point) say(`${point.id}, ${told(point)}`);
    }

    const told = (point) => (point.labels === null ? "labels withheld" : labelNames(point.labels).join(", ") || "no label");

    function nearest(x, y, within) {
      let best = null;
      let least = within * within;
      for (const point of points) {
        if (!point.isOn) continue;
        const [left, top] = place(point);
        const distance = (left - x) ** 2 + (top - y) ** 2;
        if (distance < least) { least = distance; best = point; }
      }
      return best;
    }

    function zoomBy(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
      const before = side();
      state.zoom = within(state.zoom * factor, 1, ...ZOOMS);
      const [left, top] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
      change({ x: state.x + left / before - left / side(), y: state.y - top / before + top / side() });
    }

    const all = () => change({ x: 0, y: 0, zoom: 1 });
    const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      const step = KEYS[event.key];
      if (step) change({ x: state.x + (40 * step[0]) / side(), y: state.y + (40 * step[1]) / side() });
      else if (event.key === "+" || event.key === "=") zoomBy(1.5);
      else if (event.key === "-") zoomBy(1 / 1.5);
      else if (event.key === "0") all();
      else if (event.key === "Enter") change({ at: nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity)?.id ?? "" });
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); }, { passive: false });
    canvas.addEventListener("focus", redraw);
    canvas.addEventListener("blur", redraw);
    const fingers = new Map();
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, [event.offsetX, event.offsetY]); moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return hover(event);
      const now = [event.offsetX, event.offsetY];
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      if (other) {
        const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
        zoomBy(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else change({ x: state.x - (now[0] - before[0]) / side(), y: state.y + (now[1] - before[1]) / side() });
      return undefined;
    });
    canvas.addEventListener("pointerup", (event) => {
      fingers.delete(event.pointerId);
      if (moved < 6) change({ at: nearest(event.offsetX, event.offsetY, 16)?.id ?? "" });
    });
    canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

    function hover(event) {
      const point = nearest(event.offsetX, event.offsetY, 12);
      tip.hidden = !point;
      canvas.style.cursor = point ? "pointer" : "grab";
      if (!point) return;
      if (tip.dataset.id !== point.id) {
        tip.dataset.id = point.id;
        tip.replaceChildren(...[point.pictures ? picture(point) : "", h("p", {}, h("b", {}, point.id)),
          h("p", {}, `${site.partitions[point.partition].name} · ${told(point)}`)].filter(Boolean));
      }
      const [x, y] = place(point);
      tip.style.left = `${Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4)}px`;
      tip.style.top = `${Math.max(Math.min(y + 12, canvas.clientHeight - tip.offsetHeight - 4), 4)}px`;
    }

    naming();
    matching();
    choose();
    new ResizeObserver(redraw).observe(canvas);
    isDark.addEventListener("change", () => { matching(); redraw(); });
    const button = (text, label, click) => h("button", { type: "button", "aria-label": label, click }, text);
    return ["Map", h("h1", { tabindex: "-1" }, "Map"), count,
      h("div", { class: "controls", role: "search" }, h("label", { class: "wide" }, "Search ids and labels ( / )", search), h("label", {}, "Colour by", by),
        h("div", { class: "buttons" }, button("+", "Zoom in", () => zoomBy(1.5)), button("−", "Zoom out", () => zoomBy(1 / 1.5)), button("All", "Show all", all))),
      points.length ? h("div", { class: "atlas" }, h("div", { class: "plot" }, canvas, tip), h("div", {}, chosen, legend)) : h("p", {}, "There is no video.")];
  }

  // Routes -------------------------------------------------------------------------------------------------------
  const PAGES = { "": entitiesPage, entity: entityPage, videos: videosPage, video: videoPage, map: mapPage, rejected: rejectedPage, about: aboutPage };
  const MENU = [["Entities", ""], ["Videos", "videos"], ["Map", "map"], ["Rejected", "rejected"], ["About", "about"]];
  const MENU_OF = { entity: "", video: "videos" };
  let turn = 0;

  function route() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    try {
      return [path.split("/").map(decodeURIComponent), new URLSearchParams(query)];
    } catch {
      return [["?"], new URLSearchParams()]; // a % that begins no escape
    }
  }

  async function show() {
    const now = ++turn;
    const [[name, ...rest], parameters] = route();
    const main = $("main");
    main.setAttribute("aria-busy", "true");
    let found;
    try {
      const page = Object.hasOwn(PAGES, name) ? PAGES[name] : () => missing(`There is no page ${name}`, "");
      found = await page(rest.filter((part) => part !== ""), parameters);
    } catch (error) {
      found = ["Problem", h("h1", { tabindex: "-1" }, "This page cannot be shown"), h("p", { class: "problem" }, error.message)];
    }
    if (now !== turn) return;
    const [title, ...content] = found;
    main.replaceChildren(...content.flat(Infinity).filter(Boolean));
    main.setAttribute("aria-busy", "false");
    document.title = `${title} · ${site.name}`;
    const current = MENU_OF[name] ?? name;
    $("pages").replaceChildren(...MENU.map(([text, to]) => h("li", {}, h("a", { href: address([to]), "aria-current": to === current ? "page" : false }, text))));
    if (now > 1) { window.scrollTo(0, 0); main.querySelector("h1")?.focus(); }
  }

  async function start() {
    try {
      site = await load("site");
    } catch (error) {
      $("main").replaceChildren(h("p", { class: "problem" }, `${error.message}: copy the whole folder of the site.`));
      return;
    }
    $("name").textContent = site.name;
    if (site.withheld_shown) {
      $("alarm").hidden = false;
      $("alarm").textContent = "This site shows the withheld labels of the test partition. Do not publish it.";
    }
    $("skip").addEventListener("click", () => $("main").focus());
    window.addEventListener("hashchange", show);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
      event.preventDefault();
      $("search")?.focus();
    });
    await show();
  }

  start();
})();
