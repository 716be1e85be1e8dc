"""The page in Airflow's own UI: a React app, and the FastAPI sub-app at `/manifold` that gives it its figures."""
