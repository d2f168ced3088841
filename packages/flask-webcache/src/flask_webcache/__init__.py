"""A compliant HTTP cache inside a Flask app."""
