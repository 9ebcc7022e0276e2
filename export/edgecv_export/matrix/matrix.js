"use strict";
(() => {
  const field = document.querySelector(".filter input");
  const shown = document.querySelector(".filter output");
  const rows = [...document.querySelectorAll("table[data-sortable] tbody tr")];
  const update = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const content = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  field.addEventListener("input", update);
  update();
})();
