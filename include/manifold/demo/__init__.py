"""The whole production shape on one machine, from wheels: what `make demo` runs."""


def host() -> str:
    """The name that Airflow's processes go by: all are on this machine, and no name service is asked."""
    return "127.0.0.1"
