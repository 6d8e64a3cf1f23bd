"""Where Alembic begins; the connection is handed over by `shared.stores.sql.migrate`, inside its transaction."""

from alembic import context

from shared.stores.sql.tables import metadata


def _run() -> None:
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


# Alembic runs this file under this name; imported as a module it does nothing.
if __name__ == "env_py":
    _run()
