"""Where the history is kept: catalog, engines, ledger, queries, embedded PostgreSQL."""
