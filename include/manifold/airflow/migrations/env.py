"""Empty on purpose: Airflow looks for this file in every database manager's folder before it migrates.

The ledger brings its own upgrades (`manifold.ledger.schema.UPGRADES`), which need no Alembic.
"""
