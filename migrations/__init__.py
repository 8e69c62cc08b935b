"""The schema, as alembic migrations in raw SQL."""
