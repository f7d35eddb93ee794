"""The quality officer's site: static pages over the ledger under `reports/`."""
