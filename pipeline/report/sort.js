"use strict";
// Makes the headings of a table sort it; without scripts the table stays as it is.
for (const table of document.querySelectorAll("table.sortable")) {
  const [row] = table.tHead.rows;
  const body = table.tBodies[0];
  const valueOf = (line, column) => {
    const cell = line.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // empty cells come last
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b));
  };
  [...row.cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of row.cells) other.ariaSort = null;
      head.ariaSort = down ? "descending" : "ascending";
      const lines = [...body.rows].map((line) => [valueOf(line, column), line]);
      const sign = down ? -1 : 1;
      lines.sort(([a], [b]) => (a === "" || b === "" ? 1 : sign) * compare(a, b));
      body.append(...lines.map(([, line]) => line));
    });
  });
}
