"""The rules of HTTP caching: pure functions, which know neither Flask nor a backend."""
