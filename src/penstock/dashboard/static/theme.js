// Before the first paint, so that a chosen theme does not flash. Without a choice the system's holds.
"use strict";
try {
  const chosen = localStorage.getItem("penstock-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser may forbid storage: then the choice lasts as long as the page.
}
