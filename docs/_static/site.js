// Code and tables that scroll can be scrolled with the keyboard.
for (const box of document.querySelectorAll(".highlight pre, .table-wrapper")) {
  box.tabIndex = 0;
}
