// What is wrong with a page as it is shown: a list of words. It is evaluated in the page by tests/lab/page_checks.py, so it is one function
// that needs nothing and changes nothing. Contrast, sizes and names are computed from what the browser shows, not read from sources.
function checks() {
  const found = [];
  const wrong = (text, element) => found.push(element ? `${text}: ${words(element)}` : text);
  const words = (e) => `<${e.tagName.toLowerCase()}${e.className && e.className.baseVal === undefined ? "." + e.className : ""}> ${(e.textContent || "").trim().slice(0, 60)}`;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  function visible(e) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    return box.width > 1 && box.height > 1 && style.visibility === "visible" && style.display !== "none" && box.right > 0;
  }

  // ---- structure ----

  function count(selector, wanted, what) {
    const n = all(selector).length;
    if (n !== wanted) wrong(`${n} of ${what}, not ${wanted}`);
  }
  count("h1", 1, "h1");
  count("main", 1, "main");
  count("body > header", 1, "body > header");
  count("body > footer", 1, "body > footer");
  if (!document.documentElement.lang) wrong("the language is not said");
  if (!document.title.trim()) wrong("the window has no title");
  if (all("nav").length && !all("nav[aria-label]").length) wrong("the navigation has no name");
  if (!document.querySelector("main h1")) wrong("the heading is not in main");
  const skip = document.querySelector("body > a");
  if (!skip || !document.querySelector(skip.getAttribute("href"))) wrong("the first link does not lead to the contents");
  let level = 0;
  for (const h of all("h1, h2, h3, h4")) {
    const now = Number(h.tagName[1]);
    if (now > level + 1 && level) wrong(`a heading of level ${now} below level ${level}`, h);
    level = now;
  }
  const ids = new Set();
  for (const e of all("[id]")) {
    if (ids.has(e.id)) wrong(`two elements are called ${e.id}`);
    ids.add(e.id);
  }
  for (const e of all("[aria-labelledby], [aria-describedby], [aria-controls], [for]"))
    for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "for"])
      for (const id of (e.getAttribute(name) || "").split(" ").filter(Boolean))
        if (!ids.has(id)) wrong(`${name} names ${id}, which is not there`, e);
  for (const t of all("table")) {
    if (!t.caption || !t.caption.textContent.trim()) wrong("a table without a caption", t);
    for (const th of all("th", t)) if (!th.scope) wrong("a heading of a table without a scope", th);
  }
  for (const e of all("svg")) {
    const hidden = e.getAttribute("aria-hidden") === "true";
    if (!hidden && !(e.getAttribute("role") === "img" && e.getAttribute("aria-label"))) wrong("a picture without a name", e);
  }
  for (const e of all("img:not([alt])")) wrong("a picture without a text", e);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) wrong("an order of its own for the tab key", e);
  for (const e of all("ul > *, ol > *")) if (e.tagName !== "LI") wrong("a list holds what is no item", e);
  for (const e of all("form[method=post]"))
    if (!(e.getAttribute("action") || "").startsWith("/")) wrong("a form that leaves the site", e);
  for (const e of all("[style], [onclick], [onerror], [onload], iframe, object, embed, base, meta[http-equiv]"))
    wrong("an element or an attribute that no page has", e);
  for (const e of all("script")) if (e.textContent || !e.src.startsWith(location.origin + "/")) wrong("a script that is not a file of the page", e);

  // ---- what is seen ----

  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = all("body *").filter((e) => visible(e) && e.getBoundingClientRect().right > innerWidth + 1);
    wrong(`the page is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`, wide[wide.length - 1]);
  }

  function colour(text) {
    const n = text.match(/[\d.]+/g).map(Number);
    return { rgb: n.slice(0, 3), alpha: n.length > 3 ? n[3] : 1 };
  }
  const over = (top, under) => top.rgb.map((c, i) => c * top.alpha + under[i] * (1 - top.alpha));
  const canvas = getComputedStyle(document.body).backgroundColor;
  function background(e) {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const c = colour(getComputedStyle(at).backgroundColor);
      layers.push(c);
      if (c.alpha === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), colour(canvas).rgb);
  }
  function luminance(rgb) {
    const [r, g, b] = rgb.map((c) => { const v = c / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function contrast(a, b) {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  }
  function check_contrast(what, text, e, wanted) {
    const under = background(e), ratio = contrast(over(colour(text), under), under);
    if (ratio < wanted) wrong(`${what} has a contrast of ${ratio.toFixed(2)}`, e);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || seen.has(e) || !visible(e) || e.closest("script, style, svg, noscript")) continue;
    seen.add(e);
    const style = getComputedStyle(e), size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    check_contrast("a text", style.color, e, size >= 24 || (bold && size >= 18.66) ? 3 : 4.5);
    if (size < 14) wrong(`a text of ${size} px`, e);
  }
  for (const e of all("input[placeholder], textarea[placeholder]"))
    if (visible(e)) check_contrast("a hint", getComputedStyle(e, "::placeholder").color, e, 4.5);
  for (const e of all("svg path, svg rect, svg circle")) {
    const fill = getComputedStyle(e).fill;
    if (fill.startsWith("rgb")) check_contrast("a part of a picture", fill, e.closest("svg").parentElement, 3);
  }
  for (const e of all("td[data-label]")) {
    const before = getComputedStyle(e, "::before");
    if (before.content !== "none") check_contrast("the name of a column", before.color, e, 4.5);
  }

  // WCAG 2.2: links within a text may be smaller
  for (const e of all("button, input:not([type=hidden]), select, textarea, nav a, .chips a, .pages a, summary")) {
    const box = e.getBoundingClientRect();
    if (visible(e) && (box.height < 23.5 || box.width < 23.5)) wrong(`a target of ${Math.round(box.width)} x ${Math.round(box.height)}`, e);
  }
  return found;
}
