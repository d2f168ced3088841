"""Hand file downloads to nginx."""
