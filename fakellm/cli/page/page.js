"use strict";
// Plays each answer of the page as it streamed. All that is shown stands in the page already: this hides what had not
// come yet at the place of the slider. Without it the page shows everything.
document.documentElement.classList.add("scripted");
const EVERY = 250; // milliseconds between two times that are told to a screen reader

for (const article of document.querySelectorAll("article[data-last]")) {
  const [play, slider, told, speed] = ["button", "input", "output", "select"].map((kind) => article.querySelector(`.player ${kind}`));
  const pieces = [...article.querySelectorAll("[data-at]")].map((element) => [Number(element.dataset.at), element]);
  const rows = [...article.querySelectorAll("tbody tr[data-row]")].map((element) => [Number(element.dataset.row), element]);
  const cursor = article.querySelector(".now");
  const last = Number(article.dataset.last);
  let at = last;
  let ticking = 0;

  function show(now, isEnd) {
    at = Math.min(now, last);
    for (const [when, element] of pieces) element.classList.toggle("later", when > at);
    const came = rows.filter(([when]) => when <= at);
    for (const [, element] of rows) element.classList.remove("now");
    if (came.length && at < last) came[came.length - 1][1].classList.add("now");
    if (cursor) cursor.setAttribute("x", `${last ? (at / last) * 100 : 100}%`);
    slider.value = at;
    slider.setAttribute("aria-valuetext", `${at.toFixed(3)} seconds, ${came.length} of ${rows.length} chunks`);
    const text = `${at.toFixed(3)} s, ${came.length} of ${rows.length}`;
    if (isEnd || Date.now() - (told.since || 0) > EVERY) {
      told.textContent = text;
      told.since = Date.now();
    }
  }

  function stop() {
    cancelAnimationFrame(ticking);
    ticking = 0;
    play.textContent = "Play";
    show(at, true);
  }

  play.addEventListener("click", () => {
    if (ticking) return stop();
    const from = at >= last ? 0 : at;
    const begun = performance.now();
    play.textContent = "Pause";
    const tick = (time) => {
      show(from + (Math.max(time - begun, 0) / 1000) * Number(speed.value), false);
      if (at >= last) stop();
      else ticking = requestAnimationFrame(tick);
    };
    ticking = requestAnimationFrame(tick);
  });
  slider.addEventListener("input", () => {
    const wanted = Number(slider.value);
    if (ticking) stop();
    show(wanted, true);
  });
  show(last, true);
}
