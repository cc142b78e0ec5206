"""The SQLAlchemy tables, the states and the lease columns."""
