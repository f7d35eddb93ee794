"""Databases as sources: a read-only table becomes a batch in landing.

declaration (what a contract says) · connecting (credentials, sessions, snapshots, what may be said of errors) ·
statements (the SQL that is sent) · reading (ranges, files, resuming) · state (what landing already holds, what changed) ·
extracting (the order of all this). Nothing is ever written to a source.
"""
