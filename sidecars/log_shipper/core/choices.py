"""The closed lists of values that settings take."""

from enum import StrEnum


class Output(StrEnum):
    """Where documents go."""

    ELASTICSEARCH = "elasticsearch"
    STDOUT = "stdout"
    FILE = "file"


class Parse(StrEnum):
    """What a line is."""

    NONE = "none"
    JSON = "json"
    CRI = "cri"


class IdMode(StrEnum):
    """Who makes the document ids."""

    DERIVED = "derived"
    AUTO = "auto"


class Compression(StrEnum):
    """Of request bodies."""

    GZIP = "gzip"
    NONE = "none"


class Lifecycle(StrEnum):
    """How the container is run."""

    NATIVE = "native"
    ORDINARY = "ordinary"
