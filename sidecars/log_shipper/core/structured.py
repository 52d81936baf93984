"""Lines that carry structure: JSON objects (`parse: json`) and the CRI log format (`parse: cri`).

A line that does not parse is shipped whole as `message` and counted; nothing is refused here.
"""

from typing import Any

import msgspec

from .documents import Encoded, Template, texts_of
from .fields import fields_of
from .joining import CRI
from .lines import Taken
from .timestamps import is_date


def json_documents(template: Template, taken: Taken, timestamp: str) -> Encoded:
    """Make a document of each line: one that is a JSON object gives it its fields; its `@timestamp` wins over ours."""
    texts, invalid = texts_of(taken)
    result = Encoded([], taken.spans, invalid)
    for index, text in enumerate(texts):
        document = None if index in taken.cut else fields_of(text, template.places)
        if document is None:
            result.unparsed_lines += 1
            document = {"message": text}
        result.texts.append(template.record(taken, index, document, timestamp))
    return result


def cri_documents(template: Template, taken: Taken, timestamp: str) -> Encoded:
    """Make a document of each CRI record, its time `@timestamp`. The parts of long lines are joined already."""
    matches = [CRI.fullmatch(line) for line in taken.lines]
    contents = [line if match is None else match[4] or b"" for match, line in zip(matches, taken.lines, strict=True)]
    content = msgspec.structs.replace(taken, lines=contents)
    texts, invalid = texts_of(content)
    result = Encoded([], taken.spans, invalid, sum(1 for match in matches if match is None))
    for index, (match, text) in enumerate(zip(matches, texts, strict=True)):
        document: dict[str, Any] = {"message": text}
        if match is not None:
            time, document["stream"] = match[1].decode(), match[2].decode()
            if is_date(time):
                document["@timestamp"] = time
            else:
                document["labels"] = {"@timestamp": time}
        result.texts.append(template.record(content, index, document, timestamp))
    return result
