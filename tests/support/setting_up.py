"""`sidecar log-shipper --setup`, run as a person does."""

from tests.support.processes import Done, sidecar


def run_setup(url: str, stream: str, *flags: str, **settings: str) -> Done:
    """Run it against this server; `flags` and `settings` are further ones."""
    given = {"elasticsearch_url": url, "data_stream": stream, **settings}
    return sidecar("log-shipper", "--setup", *flags, settings=given, timeout=120)


def set_up(url: str, stream: str, *flags: str, **settings: str) -> list[str]:
    """The lines that a run prints which succeeds."""
    done = run_setup(url, stream, *flags, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
