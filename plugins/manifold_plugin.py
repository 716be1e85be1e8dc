"""The page of scatters and the link to it, where Manifold is on the PYTHONPATH only.

Where it is installed, Airflow has both already: the page by the entry point `airflow.plugins`, the link by the
provider. Airflow reports a second plugin of one name as an error, so this file then registers nothing.
"""

from importlib.metadata import entry_points
from typing import ClassVar

if not entry_points(group="airflow.plugins", name="manifold"):
    from manifold.airflow.link import ScatterLink
    from manifold.web import plugin

    class ManifoldFromFolder(plugin.ManifoldPlugin):
        operator_extra_links: ClassVar = [ScatterLink()]
