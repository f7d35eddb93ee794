"""The read-only query server for people without files: Arrow Flight (and Flight SQL) over TLS, a token per person, a database per role.

tokens: who may ask as which role, until when (digests only) · workers, worker: processes, each confined to the files of one release of one role
statements: one SELECT and nothing else, and what the log may say of it · messages: Flight SQL on the wire · server · client
The server needs read access to `lake.duckdb` and `releases/` only: it opens neither ledger, keys nor anything unmasked.
"""
