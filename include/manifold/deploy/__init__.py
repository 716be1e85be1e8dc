"""What the services of docker-compose.yml run besides Airflow itself."""
