"use strict";
// Sorting by any head and filtering, on what stands in the page; without scripts all of it is shown as it was written.
(() => {
  const form = document.querySelector("form.filters");
  const sections = [...document.querySelectorAll("section[data-dataset]")];
  const value = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    // What is absent stands last, whichever way a column is sorted.
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (head, column) => {
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows];
    const numeric = rows.some((row) => typeof value(row, column) === "number");
    const before = head.getAttribute("aria-sort");
    const down = before === null ? numeric : before === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const absent = (row) => numeric && typeof value(row, column) !== "number";
    rows.sort((a, b) => {
      if (absent(a) || absent(b)) return Number(absent(a)) - Number(absent(b));
      return (down ? -1 : 1) * compare(value(a, column), value(b, column));
    });
    body.append(...rows);
  };
  for (const section of sections) {
    [...section.querySelectorAll("thead th")].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(head, column));
      head.replaceChildren(button);
    });
  }
  const filter = () => {
    const kind = form.querySelector("#kind").value;
    const most = form.querySelector("#most").value;
    const words = form.querySelector("#words").value.trim().toLowerCase();
    const companions = form.querySelector("#companions").checked;
    const chosen = [...form.querySelectorAll("select[data-filter]")].filter((select) => select.selectedIndex > 0);
    let sets = 0;
    let tables = 0;
    for (const section of sections) {
      const fits = chosen.every((select) => section.dataset[select.dataset.filter] === select.value);
      let shown = 0;
      for (const row of section.querySelector("tbody").rows) {
        // The least way of counting, where none was chosen.
        const budgets = row.dataset.budgets.split(",");
        const budget = kind === "" ? budgets[0] : budgets[Number(kind)];
        const within = most === "" || (budget !== "" && Number(budget) <= Number(most));
        const named = words === "" || row.cells[0].textContent.toLowerCase().includes(words);
        const companion = row.classList.contains("companion");
        const counted = kind === "" || budget !== "";
        row.hidden = !(within && named && counted && (companions || !companion));
        if (!row.hidden) shown += 1;
        if (fits && !row.hidden && !companion) sets += 1;
      }
      section.hidden = !fits || shown === 0;
      if (!section.hidden) tables += 1;
      [...section.querySelectorAll("thead th")].forEach((head, column) => {
        if (head.dataset.kind === undefined) return;
        const hide = kind !== "" && head.dataset.kind !== kind;
        head.hidden = hide;
        for (const row of section.querySelector("tbody").rows) row.cells[column].hidden = hide;
      });
    }
    document.querySelector("#count").textContent = `${sets} sets in ${tables} tables are shown.`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
