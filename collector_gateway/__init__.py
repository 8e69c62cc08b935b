"""The gateway process: sessions, ingest, auth, gRPC server."""
