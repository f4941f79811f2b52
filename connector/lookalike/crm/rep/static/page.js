// What the pages do by themselves; all of it works without, one click later.
"use strict";

(() => {
  // the billing card, the invoices and the path follow what happens elsewhere
  const live = document.querySelector("[data-live]");
  let wait = 2000, began = Date.now();
  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(live.dataset.live, { credentials: "same-origin" });
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const one of fresh.querySelectorAll("#path, #card, #invoices")) {
            const old = document.getElementById(one.id);
            if (old && !old.contains(document.activeElement) && old.outerHTML !== one.outerHTML) old.replaceWith(document.importNode(one, true));
          }
        }
        wait = !answer.ok ? 15000 : Date.now() - began < 60000 ? 2000 : 5000;
      } catch { wait = 15000; }
    }
    setTimeout(refresh, wait);
  }
  if (live && document.getElementById("card")) setTimeout(refresh, wait);

  // lookups: what the typed name may mean
  let timer = 0;
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.dataset || !field.dataset.lookup) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const asked = new URLSearchParams({ kind: field.dataset.lookup, q: field.value });
      try {
        const answer = await fetch("/lookup?" + asked, { credentials: "same-origin" });
        if (!answer.ok) return;
        const list = document.getElementById(field.getAttribute("list"));
        list.replaceChildren(...(await answer.json()).map((one) => {
          const option = document.createElement("option");
          option.value = one.value;
          option.textContent = one.note;
          return option;
        }));
      } catch { /* the list that came with the page stays */ }
    }, 150);
  });

  // filters answer at once; a product shows its list price
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches("[data-send]")) field.form.requestSubmit();
    if (field.matches("[data-entry]")) {
      const price = document.getElementById("new-UnitPrice");
      if (price) price.placeholder = field.selectedOptions[0].dataset.price || "";
    }
  });

  // what was typed is not lost by leaving
  let isTyped = false;
  document.addEventListener("input", (event) => { if (event.target.closest("form.edit")) isTyped = true; });
  document.addEventListener("submit", () => { isTyped = false; });
  addEventListener("beforeunload", (event) => { if (isTyped) event.preventDefault(); });

  // a page that is loaded again does not say twice that it saved
  const url = new URL(location.href);
  if (url.searchParams.has("done")) {
    url.searchParams.delete("done");
    url.searchParams.delete("gone");
    history.replaceState(null, "", url);
  }
  const wrong = document.querySelector("[aria-invalid=true]") || document.querySelector("form.edit:not(.path) :is(input:not([type=hidden]), select, textarea)");
  if (wrong && (document.querySelector("[role=alert]") || /[?&](edit|line|add)=/.test(location.search))) wrong.focus({ preventScroll: Boolean(location.hash) });
})();
