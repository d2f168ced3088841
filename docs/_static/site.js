// Code and tables that scroll can be scrolled with the keyboard.
for (const box of document.querySelectorAll(".highlight pre, .table-wrapper")) {
  box.tabIndex = 0;
}
// What the theme leaves without a name or a level.
for (const caption of document.querySelectorAll("p.caption[role=heading]")) {
  caption.setAttribute("aria-level", "2");
}
document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Site");
document.querySelector(".toc-drawer")?.setAttribute("aria-label", "Page");
