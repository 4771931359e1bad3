"""What must be installed beside the proxy for some values of a file."""

from importlib.util import find_spec

from proxy.config.problems import Mark, Path, Problems


def warn_without_postgres(mark: Mark, path: Path, problems: Problems) -> None:
    """A warning, because the proxy may run on another machine than the one that checks its file."""
    if find_spec("asyncpg") is None:
        problems.warning(
            mark,
            path,
            "needs asyncpg, which is not installed here; where the proxy runs: "
            "pip install 'resilience-proxy[postgres]'",
        )
