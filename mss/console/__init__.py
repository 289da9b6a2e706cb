"""The operator's own port: is it alive, is it ready, and its figures."""
