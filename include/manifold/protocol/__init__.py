"""What coordinator, worker and store exchange: records, jobs and tasks, sealed."""
