"""The public log: append-only, static files, one module per C2SP spec; `log` joins them."""
