"""Manifold inside Airflow: the decorator, the operator, connection types, settings."""
