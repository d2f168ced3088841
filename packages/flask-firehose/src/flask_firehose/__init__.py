"""Tell the browser early what the page will need."""
